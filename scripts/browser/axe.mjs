// Whether anybody can read every page of a built site, as far as axe can tell: node axe.mjs SITE [--pages REGEX] [--turns]
//
// Each page is opened in Chromium, every fold open, and looked at in four ways: light and dark, 1280 px wide and 360 with touch. With `--turns` each
// page takes one of the four, the next page the next. A fault is what axe calls a violation, of WCAG 2.2 at A and AA or of best practice. Prints a line
// for each fault, with the first elements, then a count; exits with 1 if there are faults.

import { readFileSync, readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { fail, launching, serve, whole } from "./site.mjs"

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
const WIDE = { width: 1280, height: 900, hasTouch: false, isMobile: false }, PHONE = { width: 360, height: 740, hasTouch: true, isMobile: true }
const WAYS = [["light", WIDE], ["dark", WIDE], ["dark", PHONE], ["light", PHONE]]
const AT_ONCE = 2

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pages: { type: "string" }, turns: { type: "boolean" } } })
const site = resolve(positionals[0] ?? "site")
const wanted = new RegExp(values.pages ?? "")
const pages = readdirSync(site, { recursive: true }).map(String).filter(name => /(^|\/)(index|404)\.html$/.test(name) && wanted.test(name)).sort()
if (!pages.length) fail(`--pages is ${values.pages}: no page of ${site} has such a name`)
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

// What runs in the page.
const there = {
  opened: () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true
  },
  rested: async () => {
    await document.fonts.ready
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 500))) // site.js waits 200 ms before it looks at what scrolls
  },
  violations: async tags => {
    const { violations } = await window.axe.run(document, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] })
    return violations.map(({ id, nodes }) => ({ rule: id, count: nodes.length, first: nodes.slice(0, 3).map(({ target, html }) => `${target.join(" ")} ${html.replace(/\s+/g, " ").slice(0, 120)}`) }))
  },
}

const browser = await puppeteer.launch({ ...launching("chromium"), protocolTimeout: 600_000 }) // forty thousand elements take axe a quarter of a minute
const { server, address } = await serve(site)
const left = pages.map((page, at) => ({ page, ways: values.turns ? [WAYS[at % WAYS.length]] : WAYS }))
let count = 0, looks = 0

async function look() {
  for (let next = left.shift(); next; next = left.shift()) {
    const { page, ways } = next, began = performance.now()
    const reader = await browser.createBrowserContext() // a tab behind another draws nothing; one in a window of its own does
    const tab = await reader.newPage()
    await tab.setViewport(ways[0][1])
    await tab.goto(address(page), { waitUntil: "load", timeout: 60_000 })
    for (const [scheme, screen] of ways) {
      await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }])
      await tab.setViewport(screen) // loads the page anew where touch comes or goes
      if (!(await tab.evaluate(() => "axe" in window))) {
        await whole(tab)
        await tab.evaluate(there.opened)
        await tab.evaluate(axe)
      }
      await tab.evaluate(there.rested)
      for (const { rule, count: nodes, first } of await tab.evaluate(there.violations, TAGS)) {
        console.log(`${page}, ${scheme}, ${screen.width} px: ${rule}, ${nodes} times\n  ${first.join("\n  ")}`)
        count++
      }
      looks++
    }
    await reader.close()
    process.stderr.write(`${page} ${((performance.now() - began) / 1000).toFixed(1)} s\n`)
  }
}

try {
  await Promise.all(Array.from({ length: AT_ONCE }, look))
} finally {
  server.close()
  await browser.close()
}
console.log(`${pages.length} pages, looked at ${looks} times: ${count} faults`)
process.exit(count ? 1 : 0)
