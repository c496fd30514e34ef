// How Run does in a built site, in both browsers, from a plain server under a sub-path: node run.mjs SITE [--page optimization/nesterov/] [--browser chromium].
// Prints the time to the first result, cold and warm, the bytes moved, and what else must hold; the last line counts.

import { createServer } from "node:http"
import { existsSync, readFileSync, statSync } from "node:fs"
import { extname, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { BROWSERS, TYPES, launching } from "./site.mjs"

const LIMITS = { cold: 4, warm: 3, bytes: 30e6 } // seconds, seconds, bytes: on two idle cores
const { values, positionals } = parseArgs({ allowPositionals: true, options: { page: { type: "string", default: "optimization/nesterov/" }, browser: { type: "string" } } })
const site = resolve(positionals[0] ?? "site")
let passed = 0, failed = 0

function check(good, what) {
  good ? passed++ : failed++
  console.log(`  ${good ? "ok  " : "FAIL"} ${what}`)
}

// A server as a folder is served anywhere: no compression, no headers but type and date. It is the browsers' proxy too, and so sees who else is asked.
async function serving() {
  const seen = { bytes: 0, files: [], others: [], damaged: false }
  const server = createServer((request, response) => {
    if (!request.url.startsWith("/")) return seen.others.push(request.url), response.writeHead(502).end()
    const path = join(site, decodeURIComponent(new URL(request.url, "http://x").pathname).replace(/^\/sub\/path\//, "/"))
    const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path
    if (!file.startsWith(site) || !existsSync(file)) return response.writeHead(404).end()
    const whole = readFileSync(file), content = seen.damaged && file.endsWith("memory.zst") ? whole.subarray(whole.length >> 1) : whole
    seen.bytes += content.length
    seen.files.push(file.slice(site.length + 1))
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "last-modified": new Date(statSync(file).mtimeMs - 864e5).toUTCString() }).end(content)
  })
  server.on("connect", (request, socket) => (seen.others.push(request.url), socket.end()))
  await new Promise(done => server.listen(0, "127.0.0.1", done))
  return { server, seen, port: server.address().port }
}

const proxied = (name, port) => name === "chromium"
  ? { args: [...BROWSERS.chromium.options.args, `--proxy-server=127.0.0.1:${port}`] }
  : { extraPrefsFirefox: { "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": port, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": port } }

// Press Run on a block; when it ends: seconds, what the page says, and what it gave.
const run = (tab, at, label = "Run") => tab.evaluate((at, label) => new Promise(done => {
  const bar = document.querySelectorAll(".run")[at], state = bar.querySelector(".run-state"), began = performance.now()
  new MutationObserver((_, observer) => {
    if (!/^(Ran|Raised|Stopped)/.test(state.textContent) && !bar.nextSibling.querySelector(".run-error")) return
    observer.disconnect()
    done({ seconds: (performance.now() - began) / 1000, state: state.textContent, text: bar.nextSibling.textContent, figures: bar.nextSibling.querySelectorAll("svg").length })
  }).observe(bar.parentElement, { childList: true, subtree: true, characterData: true })
  for (const fold of document.querySelectorAll("details")) fold.open = true
  bar.querySelector("button").click()
}), at, label)

const reset = tab => tab.evaluate(() => [...document.querySelectorAll(".run button")].find(button => button.textContent === "Reset page").click())

const edit = (tab, at, code) => tab.evaluate((at, code) => {
  const bar = document.querySelectorAll(".run")[at]
  bar.querySelectorAll("button")[1].click()
  const field = bar.parentElement.querySelector("textarea")
  field.value = code
  field.dispatchEvent(new Event("input"))
}, at, code)

for (const name of values.browser ? [values.browser] : Object.keys(BROWSERS)) {
  const { server, seen, port } = await serving()
  const browser = await puppeteer.launch({ ...launching(name), ...proxied(name, port), protocolTimeout: 600_000 })
  console.log(`${name} ${await browser.version()}`)
  const address = `http://127.0.0.1:${port}/sub/path/${values.page}`
  const open = async () => {
    const tab = await browser.newPage()
    const errors = []
    tab.on("pageerror", error => /Invalid markup/.test(error) || errors.push(String(error))) // Firefox says so of a formula that has come by half
    await tab.goto(address, { waitUntil: "load", timeout: 120_000 })
    return { tab, errors }
  }

  const { tab, errors } = await open()
  const told = JSON.parse(await tab.evaluate(() => document.getElementById("python")?.innerHTML ?? "null"))
  if (!told) {
    check(false, "the page offers Run")
    await browser.close()
    server.close()
    continue
  }
  const runs = told.blocks.filter(block => !block.native)
  const heavy = told.blocks.filter(block => block.parts.includes("sympy") && block.parts.includes("matplotlib")).sort((a, b) => a.needs.length - b.needs.length)
  const at = Math.max(told.blocks.indexOf(heavy[0]), 0)
  await new Promise(done => setTimeout(done, 500))
  check(!seen.files.some(file => /assets\/python|javascripts\/(python\.js|page\.py)/.test(file)), "nothing of Python is asked for before the first Run")

  let before = seen.bytes
  const cold = await run(tab, at)
  check(/^Ran/.test(cold.state), `block ${at + 1} (${told.blocks[at].parts.join(", ") || "NumPy alone"}): ${cold.state}; ${cold.text.length} signs, ${cold.figures} drawings${/^Ran/.test(cold.state) ? "" : `: ${cold.text}`}`)
  if (told.sizes["memory.zst"]) check(!seen.files.some(file => /(python_stdlib\.zip|rest\.tar\.zlib|late\.bin|(numpy|sympy|matplotlib|package)\.tar\.zlib)$/.test(file)), "Python starts from its memory, and nothing more is asked for")
  await reset(tab)
  const own = (await run(tab, at)).seconds // what the block and those that it needs compute: the rest is the start of Python and its packages
  const start = seconds => `${seconds.toFixed(2)} s, of which the page's own code takes ${own.toFixed(2)}`
  check(cold.seconds <= LIMITS.cold, `first result, cold: ${start(cold.seconds)} (at most ${LIMITS.cold})`)
  check(seen.bytes - before <= LIMITS.bytes, `moved: ${((seen.bytes - before) / 1e6).toFixed(1)} MB (at most ${LIMITS.bytes / 1e6})`)

  for (const round of [1, 2]) {
    await new Promise(done => setTimeout(done, 1500))
    before = seen.bytes
    const next = await open()
    const middle = seen.bytes
    const warm = await run(next.tab, at)
    check(warm.seconds <= LIMITS.warm, `first result, warm (${round}): ${start(warm.seconds)} (at most ${LIMITS.warm}), ${((seen.bytes - middle) / 1e6).toFixed(1)} MB moved`)
    await next.tab.close()
  }

  await edit(tab, at, "while True: pass")
  const endless = run(tab, at)
  await new Promise(done => setTimeout(done, 1500))
  const frames = await tab.evaluate(() => new Promise(done => {
    let count = 0
    const began = performance.now(), next = () => (++count, performance.now() - began < 1000 ? requestAnimationFrame(next) : done(count))
    requestAnimationFrame(next)
  }))
  before = seen.bytes
  await tab.evaluate(at => document.querySelectorAll(".run")[at].querySelector("button").click(), at)
  check(/^Stopped/.test((await endless).state), `Stop ends an endless loop; beside it the page drew ${frames} frames a second`)
  const began = Date.now()
  await reset(tab)
  const after = await run(tab, at)
  check(after.text === cold.text || after.figures === cold.figures, `Reset gives the page's own code and an empty Python; the next result ${((Date.now() - began) / 1000).toFixed(2)} s later, ${((seen.bytes - before) / 1e6).toFixed(1)} MB moved`)

  if (told.sizes["memory.zst"]) {
    seen.damaged = true
    const elsewhere = await (await browser.createBrowserContext()).newPage() // which has kept nothing
    await elsewhere.goto(address, { waitUntil: "load", timeout: 120_000 })
    const way = await run(elsewhere, at)
    check(/^Ran/.test(way.state) && way.figures === cold.figures, `a memory that has come damaged is left, and Python starts from its files: ${way.state}${/^Ran/.test(way.state) ? "" : `: ${way.text}`}`)
    await elsewhere.close()
  }

  server.closeAllConnections()
  await new Promise(done => server.close(done))
  const other = told.blocks.findIndex((block, index) => index !== at && !block.native && block.parts.every(part => told.blocks[at].parts.includes(part)))
  if (other >= 0) check(/^Ran/.test((await run(tab, other)).state), "works on after the server has gone")
  // Both browsers ask their makers this and that by themselves.
  const foreign = seen.others.filter(url => !/mozilla|firefox|google(apis)?\.com/.test(url))
  check(foreign.length === 0, `no other host is asked${foreign.length ? `: ${foreign}` : ""}`)
  check(errors.length === 0, `no error on the page${errors.length ? `: ${errors}` : ""}`)
  console.log(`  ${runs.length} of ${told.blocks.length} blocks of this page run in a browser`)
  await browser.close()
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
