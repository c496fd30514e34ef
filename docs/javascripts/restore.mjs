// Python from a memory that was kept, with the packages imported: for the worker (python.js), for the build that makes the memory
// (scripts/book/snapshot.mjs) and for what checks both. It asks for nothing itself: files are handed to it.
//
// A library's code is not in the memory: its functions stand in the table of functions, and the memory has their numbers. So the libraries are
// instantiated in `preRun`, before anything else has asked for memory or for a place in the table, in one order. While the runtime is not initialised,
// Emscripten gives them what follows the heap's base, and the table grows at its end. So addresses and numbers depend on the list alone, and are in
// the page what they were at build. The memory is written over all of it when the runtime is there, before Python is asked for anything.

export const SITE = "/lib/python3.14/site-packages"
export const LIBRARY = "/lib/python314.zip"
export const ENVIRONMENT = { HOME: "/home/pyodide", LANG: "C.UTF-8", MPLBACKEND: "agg", MPLCONFIGDIR: `${SITE}/matplotlib/mpl-data`, PYTHONDONTWRITEBYTECODE: "1" }

/** The files of a tar by their names, as the build writes them. */
export function untar(tar) {
  const text = (from, to) => new TextDecoder().decode(tar.subarray(from, to)).replace(/\0+$/, "")
  const files = {}
  for (let at = 0; tar[at];) { // a file is a header of 512 bytes and its content, filled up to as many again
    const name = text(at, at + 100), above = text(at + 345, at + 500), size = parseInt(text(at + 124, at + 136), 8)
    files[above ? `${above}/${name}` : name] = tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** What Zstandard packed: `code` is its decoder, WebAssembly. */
export async function unpacked(code, packed, size) {
  const { instance } = await WebAssembly.instantiate(code, { env: { emscripten_notify_memory_growth() {} } })
  const { malloc, memory, ZSTD_decompress } = instance.exports
  const from = malloc(packed.length), to = malloc(size)
  new Uint8Array(memory.buffer).set(packed, from)
  if (ZSTD_decompress(to, size, from, packed.length) !== size) throw new Error("the memory has come damaged")
  return new Uint8Array(memory.buffer, to, size)
}

/** Emscripten's module with libraries, a promise of [path, WebAssembly.Module] each, in memory of `size`; `constructors` gets those that they bring. And
 *  where the memory names the function by which this engine calls JavaScript from Python: not every engine has it. */
export async function arranged(create, settings, libraries, size, constructors) {
  let place
  settings.preRun.unshift(Module => {
    Module.addRunDependency("libraries")
    libraries.then(found => {
      Module.growMemory(size)
      place = (Module.__PyRuntime + Module.HEAP32[Module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >>> 2]) >>> 2
      if (!Module.HEAP32[place]) Module.wasmTable.grow(1) // so that the libraries' functions have the same numbers in every engine
      for (const [path, code] of found) {
        const library = Module.newDSO(path, undefined, "loading")
        Object.assign(library, { refcount: Infinity, global: false, exports: Module.loadWebAssemblyModule(code, { nodelete: true, global: false }, path, {}) })
      }
      constructors.push(...Module.onPostCtors.splice(0))
      Module.removeRunDependency("libraries")
    }).catch(error => Module.onAbort(error))
  })
  const Module = await new Promise((done, fail) => {
    settings.onAbort = fail
    create(settings).then(done, fail)
  })
  return { Module, place }
}

/** Python as it was when the memory was kept. `program` is a promise of pyodide.asm.mjs, `files` one of what start.tar.zst holds, unpacked; `memory` gives one
 *  of what memory.zst holds; `meta` is what snapshot.json says; `read` gives a file's bytes at once. */
export async function restored(loadPyodide, options, { program, meta, memory, files, read }) {
  const found = files.then(untar)
  const libraries = found.then(all => Promise.all(meta.libraries.map(async name => [`${SITE}/${name}`, await WebAssembly.compile(all[name])])))
  const python = await loadPyodide({
    ...options,
    env: ENVIRONMENT,
    _loadSnapshot: new Uint8Array(1), // so that Pyodide does not start Python
    createPyodideModule: async settings => {
      const { default: create } = await program
      const arranging = arranged(create, settings, libraries, meta.size, []) // what constructors did, the memory has
      const [{ Module, place }, kept] = await Promise.all([arranging, memory()]) // it is unpacked while the browser compiles
      const { loadedLibsByName: known, loadedLibsByHandle: handles } = Module.LDSO
      for (const [handle, path] of meta.handles) handles[handle] = known[path]
      for (const added of meta.added) added ? Module.addFunction(known[added[0]].exports[added[1]]) : Module.wasmTable.grow(1)
      Module.freeTableIndexes.push(...meta.free)
      if (Module.wasmTable.length !== meta.table) throw new Error(`the memory is for a table of ${meta.table} functions, this one has ${Module.wasmTable.length}`)
      const own = Module.HEAP32[place]
      write(Module.HEAPU8, kept)
      Module.HEAP32[place] = own
      Module.API.restoreSnapshot = () => meta.pyodide // Pyodide's own cannot write a memory that has grown
      return Module
    },
  })
  const { FS } = python
  for (const [name, content] of Object.entries(await found)) if (!meta.libraries.includes(name)) put(FS, `${SITE}/${name}`, content)
  later(FS, LIBRARY, meta.library, () => read("python_stdlib.zip"))
  let rest
  for (const [name, at, size] of meta.late) later(FS, `${SITE}/${name}`, size, () => (rest ??= read("late.bin")).subarray(at, at + size))
  return python
}

/** Write what was kept: a number of pieces, where each goes and how long it is, and their bytes; between them lies what is there already. */
function write(heap, kept) {
  const [count] = new Uint32Array(kept.buffer, kept.byteOffset, 1), pieces = new Uint32Array(kept.buffer, kept.byteOffset + 4, 2 * count)
  let from = 4 + 8 * count
  for (let n = 0; n < 2 * count; n += 2) {
    heap.set(kept.subarray(from, from + pieces[n + 1]), pieces[n])
    from += pieces[n + 1]
  }
}

function put(FS, path, content) {
  FS.mkdirTree(path.slice(0, path.lastIndexOf("/")))
  FS.writeFile(path, content)
}

/** A file whose bytes are asked for when something reads them. `bytes` must not call Python, which waits for them. */
function later(FS, path, size, bytes) {
  put(FS, path, "")
  const { node } = FS.lookupPath(path)
  let content
  Object.defineProperty(node, "contents", { get: () => (content ??= bytes()), set: all => (content = all) })
  node.usedBytes = size
}
