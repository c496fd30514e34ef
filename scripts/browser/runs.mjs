// Runs pages' blocks under Node, with the Python that a built site gives its readers: node runs.mjs SITE FILE, pages on the standard input as JSON.
// Adds to FILE a line of JSON for each block: what it gave, without drawings, and how long it took.

import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const [site, file] = process.argv.slice(2).map(name => resolve(name))
const jobs = JSON.parse(readFileSync(0, "utf-8"))

const load = path => import(pathToFileURL(path).href)

/** Python as python.js has it: from its memory, or else from its files. */
async function started(home) {
  const { ENVIRONMENT, SITE, restored, unpacked } = await load(join(site, "javascripts/restore.mjs"))
  const { loadPyodide } = await load(join(home, "pyodide.mjs"))
  const read = name => new Uint8Array(readFileSync(join(home, name)))
  const options = { indexURL: home, lockFileContents: readFileSync(join(home, "pyodide-lock.json"), "utf-8"), stdLibURL: join(home, "python_stdlib.zip") }
  const fetched = part => read(`${part}.tar.zlib`)
  if (existsSync(join(home, "memory.zst"))) {
    const program = load(join(home, "pyodide.asm.mjs"))
    const meta = JSON.parse(readFileSync(join(home, "snapshot.json"), "utf-8"))
    const content = name => unpacked(read("zstd.wasm"), read(name), meta.bytes[name])
    const python = await restored(loadPyodide, options, { program, meta, memory: () => content("memory.zst"), files: content("start.tar.zst"), read })
    python.registerJsModule("parts", { fetched })
    python.runPython("import page, parts; page.restored(parts.fetched)")
    return python
  }
  const python = await loadPyodide({ ...options, env: ENVIRONMENT })
  python.FS.writeFile(`${SITE}/pretty.py`, read("pretty.py"))
  python.FS.writeFile(`${ENVIRONMENT.HOME}/page.py`, readFileSync(join(site, "javascripts/page.py")))
  python.registerJsModule("parts", { fetched })
  python.runPython(`import sys; sys.path.insert(0, "${ENVIRONMENT.HOME}"); import page, parts; page.started(parts.fetched)`)
  return python
}

for (const { page, base, blocks, statements, alone } of jobs) {
  const python = await started(join(site, dirname(page), base))
  const outputs = []
  python.globals.set("told", JSON.stringify([blocks, statements]))
  python.globals.set("emit", (kind, value) => outputs.push([kind, JSON.parse(value)]))
  python.runPython(`
import json
def opened():
    return page.Page(*json.loads(told), lambda kind, value: emit(kind, json.dumps(value)))
shown = opened()`)
  for (const [at, block] of blocks.entries()) {
    if (block.native) continue
    outputs.length = 0
    const began = performance.now()
    let good = false
    try {
      if (alone) python.runPython("shown = opened()")
      good = python.runPython(`shown.run(${at}, {})`)
    } catch (error) {
      outputs.push(["error", String(error)])
    }
    const seconds = (performance.now() - began) / 1000
    appendFileSync(file, JSON.stringify({ page, at, good, seconds, outputs: outputs.filter(([kind]) => kind !== "needs") }, (key, value) => (/^(svg|narrow|text\/html)$/.test(key) ? "" : value)) + "\n")
  }
}
process.exit(0)
