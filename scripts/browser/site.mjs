// A built site on a port of this machine, and where browsers are: what the checks in this folder share.

import { createServer } from "node:http"
import { existsSync, readFileSync, statSync } from "node:fs"
import { extname, join } from "node:path"
import { gzipSync } from "node:zlib"

export const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json",
  ".woff2": "font/woff2", ".png": "image/png", ".mjs": "text/javascript", ".wasm": "application/wasm" }
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
export const BROWSERS = {
  chromium: { paths: ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"], options: { args: FLAGS } },
  firefox: { paths: ["/usr/bin/firefox-esr", "/usr/bin/firefox"], options: { browser: "firefox" } },
}

export function fail(why) {
  console.error(why)
  process.exit(2)
}

// How puppeteer starts a browser; a path of one's own comes from CHROMIUM or FIREFOX.
export function launching(name) {
  const { paths, options } = BROWSERS[name] ?? fail(`the browser is ${name}: expected one of ${Object.keys(BROWSERS)}`)
  const executablePath = process.env[name.toUpperCase()] ?? paths.find(existsSync) ?? fail(`${name} is not installed: none of ${paths.join(", ")} is there`)
  return { ...options, executablePath, headless: true }
}

const packed = new Map()
const pack = file => packed.get(file) ?? packed.set(file, gzipSync(readFileSync(file))).get(file)

// A server of the site, `zipped` if it packs what can be packed. `sent` is called with the path of each file that a page needs (Firefox fetches the next page too, when idle);
// It stands `below` a folder of the host's.
export async function serve(site, { sent = () => {}, below = "", zipped = false } = {}) {
  if (!existsSync(join(site, "index.html"))) fail(`${site}: there is no index.html; is this a built site?`)
  const server = createServer((request, response) => {
    const path = join(site, decodeURIComponent(new URL(request.url, "http://x").pathname).replace(`/${below}`, "/"))
    const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path
    if (!file.startsWith(site) || !existsSync(file)) return response.writeHead(404).end()
    if (request.headers["sec-purpose"] !== "prefetch" && request.headers["x-moz"] !== "prefetch") sent(file)
    const type = { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }
    if (zipped && /text|json|svg/.test(type["content-type"])) response.writeHead(200, { ...type, "content-encoding": "gzip" }).end(pack(file))
    else response.writeHead(200, type).end(readFileSync(file))
  })
  await new Promise(done => server.listen(0, "127.0.0.1", done))
  return { server, address: page => `http://127.0.0.1:${server.address().port}/${below}${page.replace(/index\.html$/, "")}` }
}

// Lays out the whole of a page, as site.js does in time. False if a figure that a reader steers, which comes as it comes near, does not come.
export async function whole(tab) {
  await tab.evaluate(() => { for (const part of document.querySelectorAll(".part")) part.style.contentVisibility = "visible" })
  return tab.waitForFunction(() => [...document.querySelectorAll(".explore")].every(box => box.explore), { timeout: 10_000 }).then(() => true, () => false)
}
