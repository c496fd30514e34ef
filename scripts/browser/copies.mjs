// What the copy buttons of a built site give: node copies.mjs SITE [--pages adam/index.html,…] prints, for each page, the texts in the order of its blocks.

import { createServer } from "node:http"
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs"
import { extname, join, relative, resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"

const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json" }
const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pages: { type: "string" } } })
const site = resolve(positionals[0] ?? "site")
const executablePath = PATHS.find(path => path && existsSync(path))
if (!executablePath) throw new Error(`Chromium is not installed: none of ${PATHS.filter(Boolean).join(", ")} is there`)

const server = createServer((request, response) => {
  const path = join(site, decodeURIComponent(new URL(request.url, "http://x").pathname))
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path
  if (!file.startsWith(site) || !existsSync(file)) return response.writeHead(404).end()
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(readFileSync(file))
})
await new Promise(done => server.listen(0, "127.0.0.1", done))

const wanted = values.pages?.split(",")
const pages = readdirSync(site, { recursive: true }).filter(name => name.endsWith("index.html") && (!wanted || wanted.includes(name))).sort()
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] })
const found = {}
for (const page of pages) {
  const tab = await browser.newPage()
  await tab.goto(`http://127.0.0.1:${server.address().port}/${page.replace(/index\.html$/, "")}`, { waitUntil: "load" })
  found[page] = await tab.evaluate(async () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true
    // The button's script selects the text in a field of its own and has the browser copy it.
    let copied = null
    document.execCommand = () => (copied = document.activeElement.value, true)
    const texts = []
    for (const block of document.querySelectorAll(".language-python.highlight, .language-pycon.highlight")) {
      for (let wait = 0; wait < 100 && !block.querySelector("[data-clipboard-target]"); wait++) await new Promise(done => setTimeout(done, 50))
      copied = null
      block.querySelector("[data-clipboard-target]")?.click()
      texts.push(copied)
    }
    return texts
  })
  await tab.close()
}
await browser.close()
server.close()
console.log(JSON.stringify(found))
