// What the copy buttons of a built site give: node copies.mjs SITE [--pages adam/index.html,…] prints, for each page, the texts in the order of its blocks.

import { readdirSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { launching, serve } from "./site.mjs"

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pages: { type: "string" } } })
const site = resolve(positionals[0] ?? "site")
const { server, address } = await serve(site)

const wanted = values.pages?.split(",")
const pages = readdirSync(site, { recursive: true }).filter(name => name.endsWith("index.html") && (!wanted || wanted.includes(name))).sort()
const browser = await puppeteer.launch(launching("chromium"))
const found = {}
for (const page of pages) {
  const tab = await browser.newPage()
  await tab.goto(address(page), { waitUntil: "load" })
  found[page] = await tab.evaluate(async () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true
    // The button's script selects the text in a field of its own and has the browser copy it.
    let copied = null
    document.execCommand = () => (copied = document.activeElement.value, true)
    const texts = []
    for (const block of document.querySelectorAll(".language-python.highlight, .language-pycon.highlight")) {
      block.scrollIntoView() // a button comes with the screen
      for (let wait = 0; wait < 100 && !block.querySelector("[data-clipboard-target]"); wait++) await new Promise(done => setTimeout(done, 20))
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
