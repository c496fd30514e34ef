// Makes the memory from which Python starts in readers' browsers (snapshot.py, restore.mjs): node snapshot.mjs HOME OUT.
// HOME has Pyodide's files, the parts that the memory shall have (PARTS below), page.py, pretty.py, restore.mjs and program.py, a program such as pages have.
// What the program imports is in the memory, what it reads of files comes beside it, and what else the parts have can be asked for later.

import crypto from "node:crypto"
import fs from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import zlib from "node:zlib"

const PARTS = ["numpy", "sympy", "matplotlib", "package"]
const ROOM = 64 << 20 // bytes that the memory has from the start, so that the libraries find it as large in the page
const GAP = 64 // bytes: pieces of the memory that lie closer are one
const MODULE = /\.(pyc|so)$/
const [home, out] = process.argv.slice(2)
const at = name => join(home, name)
const load = name => import(pathToFileURL(at(name)).href)

// The same bytes each time: no clock, no chance, no name of this machine's.
Date.now = performance.now = () => 0
crypto.randomFillSync = view => view.fill(0)
Math.random = () => 0

try {
  if (!zlib.zstdCompressSync) throw new Error(`Node 22.15 or newer is needed, and this is ${process.version}`)
  const { loadPyodide } = await load("pyodide.mjs"), { default: create } = await load("pyodide.asm.mjs")
  const { ENVIRONMENT, LIBRARY, SITE, arranged, untar } = await load("restore.mjs")
  const files = Object.fromEntries(PARTS.flatMap(part => Object.entries(untar(zlib.inflateSync(fs.readFileSync(at(`${part}.tar.zlib`)))))))
  const library = fs.readFileSync(at("python_stdlib.zip"))
  const options = { indexURL: home, lockFileContents: fs.readFileSync(at("pyodide-lock.json"), "utf-8"), stdLibURL: at("python_stdlib.zip"),
    env: { ...ENVIRONMENT, PYTHONHASHSEED: "0" }, _sysExecutable: "python" }

  // ---- What the program takes ----

  function furnished(FS) {
    for (const [name, content] of Object.entries(files)) {
      const path = `${SITE}/${name}`
      FS.mkdirTree(path.slice(0, path.lastIndexOf("/")))
      FS.writeFile(path, content)
    }
    FS.writeFile(`${SITE}/pretty.py`, fs.readFileSync(at("pretty.py")))
    FS.writeFile(`${ENVIRONMENT.HOME}/page.py`, fs.readFileSync(at("page.py")))
  }

  const trial = await loadPyodide(options)
  const read = new Set()
  furnished(trial.FS)
  trial.FS.trackingDelegate.onOpenFile = path => read.add(path)
  trial.globals.set("program", fs.readFileSync(at("program.py"), "utf-8"))
  const modules = trial.runPython(`
import sys
sys.path_importer_cache.clear() # the clock stands still
sys.path.insert(0, "${ENVIRONMENT.HOME}")
at_first = {*sys.modules}
exec(program, {"__name__": "program"})
"\\n".join(name for name, module in sys.modules.items() if name not in at_first and getattr(module, "__spec__", None))`).split("\n")
  const libraries = Object.keys(trial._module.LDSO.loadedLibsByName).filter(path => path.startsWith(SITE)).map(path => path.slice(SITE.length + 1))

  // ---- The memory with it ----

  const compiled = libraries.map(name => [`${SITE}/${name}`, new WebAssembly.Module(files[name])])
  const constructors = []
  let before // what is there before Python starts, here and in the page
  const python = await loadPyodide({ ...options, _makeSnapshot: true, createPyodideModule: async settings => {
    settings.onRuntimeInitialized = () => (before = settings.HEAPU8.slice())
    return (await arranged(create, settings, Promise.resolve(compiled), ROOM, constructors)).Module
  } })
  const { _api: API, _module: Module } = python
  constructors.forEach(construct => construct()) // one of them makes Python's objects
  const table = Module.wasmTable.length
  furnished(python.FS)
  const moduleOf = name => name.replace("__pycache__/", "").replace(/(\.cpython-[^/]*)?\.[^./]*$/, "").replace(/\/__init__$/, "").replaceAll("/", ".")
  const rest = Object.keys(files).filter(name => name.endsWith(".so") ? !libraries.includes(name) : name.endsWith(".pyc") && !modules.includes(moduleOf(name)))
  python.globals.set("told", JSON.stringify({ modules, parts: PARTS, rest: rest.map(moduleOf) }))
  python.runPython(`
import json, sys
sys.path_importer_cache.clear()
sys.path.insert(0, "${ENVIRONMENT.HOME}")
sys.path.remove("") # Pyodide gives it again
import page
page.keep(**json.loads(told))
del json, page, sys, told`)

  // Functions that were added to the table on the way: the page adds them again.
  const added = []
  for (let n = table; n < Module.wasmTable.length; n++) {
    const wanted = Module.wasmTable.get(n) // none where ctypes tried a place, and gave it back
    const found = Object.entries(Module.LDSO.loadedLibsByName)
      .flatMap(([path, { exports }]) => Object.entries(exports).filter(([, value]) => value === wanted).map(([name]) => [path, name]))
    if (wanted && !found.length) throw new Error(`no library has the function that is number ${n} of the table`)
    added.push(wanted && found[0])
  }

  // What was freed is still there: take all of it, from large to small, fill it with zeros and give it back.
  const end = Module.HEAPU32[Module._emscripten_get_sbrk_ptr() >>> 2], taken = []
  for (let size = 16 << 20; size >= 8; size = size > 512 ? size >> 1 : size - 8) {
    for (let place; (place = Module._malloc(size));) {
      if (place + size > end) {
        Module._free(place)
        break // nothing was ever there
      }
      Module.HEAPU8.fill(0, place, place + size)
      taken.push(place)
    }
  }
  taken.forEach(place => Module._free(place))
  const size = Module.HEAPU32[Module._emscripten_get_sbrk_ptr() >>> 2]

  // Of the memory goes what is not there already.
  const memory = Module.HEAPU8.subarray(0, size), pieces = []
  const differs = n => memory[n] !== (before[n] ?? 0)
  for (let from = 0; from < size;) {
    if (!differs(from)) {
      from++
      continue
    }
    let last = from
    for (let n = from + 1; n < size && n - last <= GAP; n++) if (differs(n)) last = n
    pieces.push([from, last + 1 - from])
    from = last + 1
  }
  const kept = Buffer.concat([Buffer.from(Uint32Array.of(pieces.length, ...pieces.flat()).buffer), ...pieces.map(([from, length]) => memory.subarray(from, from + length))])

  // ---- The files ----

  const early = Object.keys(files).filter(name => read.has(`${SITE}/${name}`) && !MODULE.test(name))
  const late = Object.keys(files).filter(name => !MODULE.test(name) && !early.includes(name)).sort()
  const start = tar([...libraries, ...early])
  let place = 0
  const meta = {
    parts: PARTS, libraries, table: Module.wasmTable.length, added, free: Module.freeTableIndexes, pyodide: API.serializeHiwireState(),
    handles: Object.entries(Module.LDSO.loadedLibsByHandle).filter(([handle]) => handle !== "0").map(([handle, { name }]) => [Number(handle), name]),
    size, bytes: { "memory.zst": kept.length, "start.tar.zst": start.length }, library: library.length,
    late: late.map(name => [name, (place += files[name].length) - files[name].length, files[name].length]),
  }
  const { ZSTD_c_compressionLevel, ZSTD_c_windowLog } = zlib.constants
  const pack = content => zlib.zstdCompressSync(content, { params: { [ZSTD_c_compressionLevel]: 19, [ZSTD_c_windowLog]: 26 } })
  fs.writeFileSync(join(out, "memory.zst"), pack(kept))
  fs.writeFileSync(join(out, "start.tar.zst"), pack(start))
  fs.writeFileSync(join(out, "rest.tar.zlib"), zlib.deflateSync(tar(rest), { level: 9 }))
  fs.writeFileSync(join(out, "late.bin"), Buffer.concat(late.map(name => files[name])))
  fs.writeFileSync(join(out, "snapshot.json"), JSON.stringify(meta))

  function tar(names) {
    const parts = []
    for (const name of [...names].sort()) {
      const head = Buffer.alloc(512), content = files[name], cut = name.length <= 100 ? 0 : name.lastIndexOf("/", 155)
      head.write(name.slice(cut && cut + 1), 0)
      head.write(name.slice(0, cut), 345)
      head.write(content.length.toString(8).padStart(11, "0"), 124)
      head.write("ustar\x0000", 257)
      head.write("        ", 148)
      head.write(head.reduce((sum, byte) => sum + byte).toString(8).padStart(6, "0") + "\0", 148)
      parts.push(head, content, Buffer.alloc((512 - content.length % 512) % 512))
    }
    return Buffer.concat([...parts, Buffer.alloc(1024)])
  }
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
process.exit(0)
