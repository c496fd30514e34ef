// Runs pages' blocks under Node, with the Python that a built site gives its readers: node runs.mjs SITE FILE, pages on the standard input as JSON.
// Adds to FILE a line of JSON for each block: what it gave, without drawings, and how long it took.

import { appendFileSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"

const [site, file] = process.argv.slice(2).map(name => resolve(name))
const jobs = JSON.parse(readFileSync(0, "utf-8"))

for (const { page, base, blocks, statements, alone } of jobs) {
  const home = join(site, dirname(page), base)
  const { loadPyodide } = await import(pathToFileURL(join(home, "pyodide.mjs")).href)
  const python = await loadPyodide({
    indexURL: home,
    lockFileContents: readFileSync(join(home, "pyodide-lock.json"), "utf-8"),
    stdLibURL: join(home, "python_stdlib.zip"),
    env: { HOME: "/home/pyodide", MPLBACKEND: "agg", MPLCONFIGDIR: "/lib/python3.14/site-packages/matplotlib/mpl-data", PYTHONDONTWRITEBYTECODE: "1" },
  })
  const outputs = []
  python.FS.writeFile("/lib/python3.14/site-packages/pretty.py", readFileSync(join(home, "pretty.py")))
  python.FS.writeFile("/home/pyodide/page.py", readFileSync(join(site, "javascripts/page.py")))
  python.registerJsModule("parts", { fetched: part => new Uint8Array(readFileSync(join(home, `${part}.tar.zlib`))) })
  python.globals.set("told", JSON.stringify([blocks, statements]))
  python.globals.set("emit", (kind, value) => outputs.push([kind, JSON.parse(value)]))
  python.runPython(`
import json, sys
sys.path.insert(0, '/home/pyodide')
import page, parts
page.lazily(parts.fetched)
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
