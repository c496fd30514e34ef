// Python in a worker: Pyodide and the parts of it that a page asks for. What it is told and what it tells is said in run.js.

const own = self.fetch.bind(self)
const parts = {} // name → a promise of its bytes
let python, base, sizes
let moved = 0

// The files' addresses change with what is in them, so whatever is in the browser's cache is good.
self.fetch = (address, options) => own(address, { cache: "force-cache", ...options })

function counted(name) {
  moved += sizes[name] ?? 0
  self.postMessage({ do: "progress", moved })
}

const file = name => `${name}.tar.zlib`

// A part's files as a tar: the browser inflates them while Python starts.
async function inflated(name) {
  const answer = await fetch(base + file(name))
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`)
  const found = await new Response(answer.body.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer()
  counted(file(name))
  return new Uint8Array(found)
}

const part = name => (parts[name] ??= inflated(name))

// What Python calls when it imports a part that nobody foresaw: it waits for no promise.
function fetched(name) {
  const request = new XMLHttpRequest()
  request.open("GET", base + file(name), false)
  request.responseType = "arraybuffer"
  request.send()
  if (request.status !== 200) throw new Error(`${name}: ${request.status}`)
  counted(file(name))
  return new Uint8Array(request.response)
}

async function boot({ base: where, sizes: all, parts: wanted, source, screens }) {
  [base, sizes] = [where, all]
  wanted.forEach(part)
  const printer = fetch(base + "pretty.py").then(answer => answer.text())
  const code = fetch(source).then(answer => answer.text())
  for (const name of wanted) part(name).catch(() => {}) // it is awaited below
  const { loadPyodide } = await import(base + "pyodide.mjs")
  python = await loadPyodide({
    indexURL: base,
    lockFileContents: await (await fetch(base + "pyodide-lock.json")).text(),
    stdLibURL: base + "python_stdlib.zip",
    env: { HOME: "/home/pyodide", MPLBACKEND: "agg", MPLCONFIGDIR: "/lib/python3.14/site-packages/matplotlib/mpl-data", PYTHONDONTWRITEBYTECODE: "1", FIGURE_SCREENS: screens },
  })
  for (const name of ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"]) counted(name)
  python.FS.writeFile("/lib/python3.14/site-packages/pretty.py", await printer)
  python.FS.writeFile("/home/pyodide/page.py", await code)
  python.registerJsModule("parts", { fetched })
  python.runPython("import sys; sys.path.insert(0, '/home/pyodide'); import page, parts; page.lazily(parts.fetched)")
  for (const name of wanted) await install(name)
  self.postMessage({ do: "ready" })
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

const acts = { boot, open, run, more: async ({ parts: wanted }) => { for (const name of wanted) if (!(name in parts)) await install(name) } }
let last = Promise.resolve()
self.onmessage = ({ data }) => {
  last = last.then(() => acts[data.do](data)).catch(error => self.postMessage({ do: "failed", id: data.id, why: String(error) }))
}
