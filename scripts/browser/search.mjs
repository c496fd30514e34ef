// Whether readers find what they ask for: node search.mjs SITE [--browsers chromium,firefox]
//
// Each query of queries.json is typed into the search. The section that answers it should come first, and must be among the first three pages;
// nothing of the index may be asked for before. The last line counts.

import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { BROWSERS, launching, serve } from "./site.mjs"

const QUERIES = Object.entries(JSON.parse(readFileSync(new URL("queries.json", import.meta.url), "utf8")))
const FIRST = 0.8 // of the queries
const { values, positionals } = parseArgs({ allowPositionals: true, options: { browsers: { type: "string" } } })
let index = 0
const { server, address } = await serve(resolve(positionals[0] ?? "site"), { sent: file => { index += file.endsWith("search_index.json") } })
const faults = []

for (const name of (values.browsers ?? Object.keys(BROWSERS).join()).split(",")) {
  const browser = await puppeteer.launch(launching(name))
  const tab = await browser.newPage()
  tab.setDefaultTimeout(60_000)
  tab.on("pageerror", error => faults.push(`${name}: error: ${error.message}`))
  await tab.setViewport({ width: 1280, height: 900 })
  index = 0
  await tab.goto(address(""), { waitUntil: "networkidle0" })
  if (index) faults.push(`${name}: the index was asked for before a search`)
  const field = await tab.$("[data-md-component=search-query]")
  await field.click()
  await tab.waitForFunction(() => !document.querySelector(".md-search-result__meta").textContent.includes("Initializing"))
  let first = 0
  for (const [query, wanted] of QUERIES) {
    await tab.evaluate(() => (document.querySelector(".md-search-result__list").textContent = ""))
    await field.evaluate((input, query) => { // as typed: the theme listens to keys
      input.value = query
      input.dispatchEvent(new Event("input", { bubbles: true }))
      input.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }))
    }, query)
    // Of each page its best section, if one is shown besides the page itself, else the page.
    const found = () => tab.evaluate(() => [...document.querySelectorAll(".md-search-result__item")].slice(0, 3).map(item => {
      const links = [...item.querySelectorAll(":scope > .md-search-result__link")]
      return links[Math.min(1, links.length - 1)].href
    }))
    let places = []
    for (let tries = 0; tries < 100 && !places.length; tries++) {
      await new Promise(done => setTimeout(done, 50))
      places = (await found()).map(href => { const url = new URL(href); return (url.pathname + url.hash).slice(1) })
    }
    const at = places.indexOf(wanted)
    first += at === 0
    if (at !== 0) console.log(`${name}: ${query}: ${wanted} is ${at < 0 ? "not among three" : `number ${at + 1}`}: ${places.join(", ")}`)
    if (at < 0) faults.push(`${name}: ${query}: ${wanted} is not found`)
  }
  console.log(`${name}: ${first} of ${QUERIES.length} first`)
  if (first < FIRST * QUERIES.length) faults.push(`${name}: only ${first} of ${QUERIES.length} come first`)
  await browser.close()
}
server.close()
for (const fault of faults) console.log(fault)
console.log(`${faults.length} faults`)
process.exit(faults.length ? 1 : 0)
