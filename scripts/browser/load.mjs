// How soon a page shows its text, how long it keeps a hand waiting, and what it moves, beside another site's page: node load.mjs SITE PAGE STOCK PAGE
//
// A phone's screen in Chromium, a new browser for each load, the two pages in turns. A slow phone: a line of 1.6 Mbit/s and 150 ms, a quarter of the
// machine's speed; a fast one: the same line, the machine's speed. The last line is data: of each page, for each phone, the medians.

import { resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { launching, serve } from "./site.mjs"

const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: "string", default: "7" } } })
const PHONES = { slow: 4, fast: 1 }
const LINE = { download: 1.6e6 / 8, upload: 0.75e6 / 8, latency: 150 } // bytes a second, ms: Lighthouse's slow 4G
const pages = []
for (let at = 0; at < positionals.length; at += 2) pages.push({ site: positionals[at], page: positionals[at + 1], ...(await serve(resolve(positionals[at]), { zipped: true })) })

async function load({ address, page }, slowness) {
  const browser = await puppeteer.launch(launching("chromium"))
  const tab = await browser.newPage()
  tab.setDefaultTimeout(120_000)
  await tab.setViewport({ width: 412, height: 823, deviceScaleFactor: 1.75, isMobile: true, hasTouch: true })
  await tab.emulateCPUThrottling(slowness)
  await tab.emulateNetworkConditions(LINE)
  const session = await tab.createCDPSession()
  let moved = 0
  await session.send("Network.enable")
  session.on("Network.loadingFinished", ({ encodedDataLength }) => (moved += encodedDataLength))
  await tab.evaluateOnNewDocument(() => {
    window.seen = { paint: 0, tasks: [], shift: 0 }
    const watch = (type, act) => new PerformanceObserver(list => list.getEntries().forEach(act)).observe({ type, buffered: true })
    watch("largest-contentful-paint", ({ startTime }) => (window.seen.paint = startTime))
    watch("longtask", ({ startTime, duration }) => window.seen.tasks.push([startTime, duration]))
    watch("layout-shift", ({ value }) => (window.seen.shift += value))
  })
  await tab.goto(address(page), { waitUntil: "networkidle0" })
  await new Promise(done => setTimeout(done, 2500)) // before the rest is laid out at leisure
  const { paint, tasks, shift, first } = await tab.evaluate(() => ({ ...window.seen, first: performance.getEntriesByName("first-contentful-paint")[0].startTime }))
  await browser.close()
  // As Lighthouse has it: after the first paint, of each task what exceeds 50 ms.
  const blocked = tasks.filter(([start]) => start > first).reduce((sum, [, length]) => sum + Math.max(0, length - 50), 0)
  return { paint, blocked, shift, moved }
}

const median = numbers => numbers.sort((a, b) => a - b)[numbers.length >> 1]
const found = []
for (const [phone, slowness] of Object.entries(PHONES)) {
  const loads = pages.map(() => [])
  for (let round = 0; round < Number(values.rounds); round++) for (const [at, page] of pages.entries()) loads[at].push(await load(page, slowness))
  for (const [at, { site, page }] of pages.entries()) {
    const { paint, blocked, shift, moved } = Object.fromEntries(["paint", "blocked", "shift", "moved"].map(name => [name, loads[at].map(each => each[name])]))
    const line = { phone, site, page, paint: Math.round(median(paint)), from: Math.round(paint[0]), to: Math.round(paint.at(-1)), blocked: Math.round(median(blocked)), shift: median(shift), moved: median(moved) }
    console.log(`${phone} phone, ${site} ${page}: largest paint ${line.paint} ms (${line.from} to ${line.to}), blocked ${line.blocked} ms, shift ${line.shift.toFixed(3)}, ${(line.moved / 1000).toFixed(0)} kB`)
    found.push(line)
  }
}
for (const { server } of pages) server.close()
console.log(JSON.stringify(found))
process.exit(0)
