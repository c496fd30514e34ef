// Python in a worker: Pyodide and the parts of it that a page asks for. What it is told and what it tells is said in run.js.

import { ENVIRONMENT, SITE, restored, unpacked } from "./restore.mjs"

const own = self.fetch.bind(self)
const parts = {} // name → a promise of its bytes
const wanted = new Set() // files that have come or will
let python, base, sizes
let kept = [] // parts that were there from the start
let moved = 0

// The files' addresses change with what is in them, so whatever is in the browser's cache is good.
self.fetch = (address, options) => own(address, { cache: "force-cache", ...options })

function expected(...names) {
  for (const name of names) wanted.add(name)
}

function counted(name) {
  expected(name)
  moved += sizes[name] ?? 0
  self.postMessage({ do: "progress", moved, whole: [...wanted].reduce((sum, each) => sum + (sizes[each] ?? 0), 0) })
}

const file = name => `${name}.tar.zlib`

async function asked(name) {
  const answer = await fetch(base + name)
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`)
  return answer
}

async function whole(name) {
  const found = new Uint8Array(await (await asked(name)).arrayBuffer())
  counted(name)
  return found
}

// A part's files as a tar: the browser inflates them while Python starts.
async function inflated(name) {
  const answer = await asked(file(name))
  const found = await new Response(answer.body.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer()
  counted(file(name))
  return new Uint8Array(found)
}

const part = name => (parts[name] ??= inflated(name))

// A file's bytes at once: what Python calls when it imports a part that nobody foresaw, or reads a file of which it has the name alone, waits for no promise.
function now(name) {
  const request = new XMLHttpRequest()
  request.open("GET", base + name, false)
  request.responseType = "arraybuffer"
  request.send()
  if (request.status !== 200) throw new Error(`${name}: ${request.status}`)
  counted(name)
  return new Uint8Array(request.response)
}

async function boot({ base: where, sizes: all, parts: first, source, screens }) {
  [base, sizes] = [where, all]
  let here = "memory.zst" in sizes
  try {
    if (here) await fromMemory(first, screens)
  } catch (error) {
    console.warn(`Python starts from its files, not from a memory: ${error}`)
    here = false
  }
  if (!here) await fromFiles(first, source, screens)
  for (const name of first) await had(name)
  self.postMessage({ do: "ready" })
}

const had = async name => kept.includes(name) || install(name)

async function fromMemory(first, screens) {
  expected("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "snapshot.json", "zstd.wasm", "start.tar.zst", "memory.zst")
  const start = import(base + "pyodide.mjs")
  const program = import(base + "pyodide.asm.mjs")
  const description = asked("snapshot.json").then(answer => answer.json())
  const decoder = whole("zstd.wasm"), packed = { "start.tar.zst": whole("start.tar.zst"), "memory.zst": whole("memory.zst") }
  const content = async name => unpacked(await decoder, await packed[name], (await description).bytes[name])
  const files = content("start.tar.zst")
  for (const promise of [program, files, packed["memory.zst"]]) promise.catch(() => {}) // they are awaited below
  const [{ loadPyodide }, meta, lock] = await Promise.all([start, description, asked("pyodide-lock.json").then(answer => answer.text())])
  for (const name of first) if (!meta.parts.includes(name)) part(name).catch(() => {})
  // Where Python's own library belongs, another file stands until something reads it.
  const options = { indexURL: base, lockFileContents: lock, stdLibURL: base + "pyodide-lock.json" }
  python = await restored(loadPyodide, options, { program, meta, memory: () => content("memory.zst"), files, read: now })
  kept = meta.parts
  for (const name of ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "snapshot.json"]) counted(name)
  begun("restored", screens)
}

async function fromFiles(first, source, screens) {
  expected("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", ...first.map(file))
  const printer = asked("pretty.py").then(answer => answer.text())
  const code = fetch(source).then(answer => answer.text())
  for (const name of first) part(name).catch(() => {}) // it is awaited below
  const { loadPyodide } = await import(base + "pyodide.mjs")
  const lock = await (await asked("pyodide-lock.json")).text()
  python = await loadPyodide({ indexURL: base, lockFileContents: lock, stdLibURL: base + "python_stdlib.zip", env: ENVIRONMENT })
  for (const name of ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"]) counted(name)
  python.FS.writeFile(`${SITE}/pretty.py`, await printer)
  python.FS.writeFile(`${ENVIRONMENT.HOME}/page.py`, await code)
  python.runPython(`import sys; sys.path.insert(0, "${ENVIRONMENT.HOME}")`)
  begun("started", screens)
}

function begun(how, screens) {
  python.registerJsModule("parts", { fetched: name => now(file(name)) })
  python.runPython(`import page, parts; page.${how}(parts.fetched, ${JSON.stringify(screens)})`)
}

async function install(name) {
  python.globals.set("files", await part(name))
  python.runPython(`page.installed(${JSON.stringify(name)}, files.to_bytes()); del files`)
}

function open({ blocks, statements }) {
  python.globals.set("told", JSON.stringify([blocks, statements]))
  python.globals.set("emit", (kind, value) => self.postMessage({ do: "output", id: current, kind, value: JSON.parse(value) }))
  python.runPython("import json; shown = page.Page(*json.loads(told), lambda kind, value: emit(kind, json.dumps(value)))")
}

let current = 0
function run({ id, block, edits }) {
  current = id
  const began = performance.now()
  python.globals.set("edits", JSON.stringify(edits))
  const good = python.runPython(`shown.run(${block}, {int(at): code for at, code in json.loads(edits).items()})`)
  self.postMessage({ do: "done", id, good, seconds: (performance.now() - began) / 1000 })
}

const acts = { boot, open, run, more: async ({ parts: others }) => { for (const name of others) if (!(name in parts)) await had(name) } }
let last = Promise.resolve()
self.onmessage = ({ data }) => {
  last = last.then(() => acts[data.do](data)).catch(error => self.postMessage({ do: "failed", id: data.id, why: String(error) }))
}
