// Whether pages live on where the theme changes them without loading them, on whatever host and below whatever folder: node instant.mjs SITE
//
// Opened as a file a page has its figures too. A link to a section brings its heading to the top, and keeps it there; a reader who comes back finds
// what was read. An address that nobody can read does no harm. From a page to the next, back and forward, in both browsers: figures are built and
// steered, mentions show works, blocks have what their copies need, Run runs, and the next page's in the same Python; no file is asked for that is not there.

import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { BROWSERS, launching, serve, whole } from "./site.mjs"

const PAGES = ["optimization/momentum/", "optimization/nesterov/"]
const { values, positionals } = parseArgs({ allowPositionals: true, options: { browsers: { type: "string" } } })
const site = resolve(positionals[0] ?? "site")
const { server, address } = await serve(site, { below: "sub/path/" })
const faults = []

for (const name of (values.browsers ?? Object.keys(BROWSERS).join()).split(",")) {
  const browser = await puppeteer.launch(launching(name))
  const tab = await browser.newPage()
  tab.setDefaultTimeout(120_000)
  const say = what => faults.push(`${name}: ${what}`)
  tab.on("pageerror", error => /Invalid markup|Invalid script: file:/.test(error.message) || // the theme's search reads no index of a site that is opened as files
    say(`error: ${error.message}`))
  tab.on("response", answer => answer.status() >= 400 && say(`${answer.url()} gives ${answer.status()}`))
  await tab.setViewport({ width: 1280, height: 900 })
  await tab.goto(pathToFileURL(join(site, PAGES[0], "index.html")).href)
  await tab.waitForFunction(() => document.querySelector(".explore:not(:empty)"), { timeout: 20_000 }).catch(() => say("opened as a file a page has no figure"))
  // What a page has, by its kind: figures, those that are built, blocks, those with their buttons, those that need something, those that have it.
  const has = async () => {
    if (!(await whole(tab))) say("a figure is not built")
    return tab.evaluate(() => [".explore", ".explore:not(:empty)", "[data-block]", ".run", "[data-needs]", ".needs"].map(kind => document.querySelectorAll(kind).length).join())
  }
  const alone = {} // as each page is when it is loaded
  for (const page of [...PAGES].reverse()) {
    await tab.goto(address(page), { waitUntil: "networkidle0" })
    alone[page] = await has()
  }
  const heading = async (id, how) => {
    await new Promise(done => setTimeout(done, 2000)) // what lies above is laid out meanwhile
    const top = await tab.evaluate(id => document.getElementById(id).getBoundingClientRect().top, id)
    if (!(top > 0 && top < 120)) say(`${how} #${id}: its heading is ${Math.round(top)} px from the top`)
  }
  // An address that nobody can read builds no figure twice; the figures of a page that is left are sought beside that page.
  await tab.goto(address(""), { waitUntil: "networkidle0" })
  const id = await tab.evaluate(() => document.querySelector(".explore").id)
  await tab.goto("about:blank")
  await tab.goto(`${address("")}#${id}=x:1%`, { waitUntil: "load" })
  await tab.evaluate(() => document.querySelector(".explore").scrollIntoView())
  await new Promise(done => setTimeout(done, 1500))
  const forms = await tab.evaluate(() => document.querySelector(".explore").querySelectorAll("form").length)
  if (forms !== 1) say(`an address that nobody can read: the figure has ${forms} forms`)
  await tab.goto(address("glossary/"), { waitUntil: "networkidle0" })
  for (const go of [() => document.querySelector(".md-logo").click(), () => history.back(), () => history.forward()]) {
    await tab.evaluate(go)
    await new Promise(done => setTimeout(done, 2000))
  }
  await tab.goto(address(PAGES[0]), { waitUntil: "networkidle0" })
  const sections = await tab.evaluate(() => [...document.querySelectorAll(".md-nav--secondary a[href*='#']")].map(link => link.hash.slice(1)))
  for (const id of [sections[Math.floor(sections.length / 2)], sections.at(-2)]) {
    await tab.goto("about:blank")
    await tab.goto(`${address(PAGES[0])}#${id}`, { waitUntil: "load" })
    await heading(id, "an address with")
  }
  await tab.evaluate(id => document.querySelector(`.md-nav--secondary a[href$="#${id}"]`).click(), sections[3])
  await heading(sections[3], "a link to")
  // A reader comes back to what was read: from the same page loaded anew, from a place that a link names, from another page.
  const read = sections[Math.floor(sections.length / 2)]
  const returns = async (how, go) => {
    await tab.evaluate(id => {
      document.body.dispatchEvent(new WheelEvent("wheel", { bubbles: true }))
      scrollBy({ top: document.getElementById(id).getBoundingClientRect().top - 150, behavior: "instant" })
    }, read)
    await new Promise(done => setTimeout(done, 1500))
    const top = () => tab.evaluate(id => document.getElementById(id).getBoundingClientRect().top, read), before = await top()
    await go()
    await new Promise(done => setTimeout(done, 2500))
    const after = await top()
    if (!(Math.abs(after - before) < 60)) say(`${how}: what was read ${Math.round(before)} px from the top is at ${Math.round(after)}`)
  }
  const back = () => tab.evaluate(() => history.back())
  const follow = async end => {
    await tab.evaluate(end => [...document.querySelectorAll("a")].find(link => link.href.endsWith(end)).click(), end)
    await new Promise(done => setTimeout(done, 2500))
  }
  await returns("a reload", () => tab.reload({ waitUntil: "load" }))
  await returns("back from a section", () => follow(`#${sections[1]}`).then(back))
  await returns("back from a page", () => follow(PAGES[1]).then(back))
  await tab.evaluate(() => (window.same = true))
  const next = async (page, go) => {
    await tab.evaluate(go, page)
    await tab.waitForFunction(page => location.pathname.endsWith(page) && document.querySelector(".explore:not(:empty)"), {}, page).catch(() => say(`${page} has no figure`))
    await new Promise(done => setTimeout(done, 2000))
    if (!(await tab.evaluate(() => window.same))) say(`${page} was loaded`)
    const there = await has()
    if (there !== alone[page]) say(`${page} has ${there}, and loaded ${alone[page]}`)
  }
  const steer = () => tab.evaluate(() => {
    const box = document.querySelector(".explore"), input = box.querySelector("input"), before = JSON.stringify(box.explore.state())
    input.value = input.value === input.min ? input.max : input.min
    input.dispatchEvent(new Event("input"))
    return JSON.stringify(box.explore.state()) !== before
  })
  // Beside a mention of a work, and beside a word of the glossary, stands what it leads to, for the mouse and for the keyboard.
  const shows = async (kind, what, look) => {
    await tab.evaluate(kind => document.querySelector(kind).scrollIntoView({ block: "center" }), kind)
    await look(await tab.$(kind))
    const meant = await tab.evaluate(kind => document.getElementById(document.querySelector(kind).hash.slice(1)).textContent, kind)
    await tab.waitForFunction(meant => document.querySelector(".md-tooltip2--active")?.textContent.includes(meant), { timeout: 10_000 }, meant)
      .catch(() => say(`${what} shows nothing`))
    await tab.evaluate(() => document.activeElement.blur())
    await tab.mouse.move(0, 0)
    await tab.waitForFunction(() => !document.querySelector(".md-tooltip2--active"), { timeout: 10_000 }).catch(() => say(`${what} shows for ever`))
  }
  await next(PAGES[1], page => [...document.querySelectorAll("a")].find(link => link.href.endsWith(page)).click())
  await shows(".footnote-ref:not(.term)", "a mention of a work", link => link.hover())
  await shows(".footnote-ref.term", "a word of the glossary", link => link.focus())
  await tab.evaluate(() => scrollTo(0, 0))
  if (!(await steer())) say("a figure is not steered")
  await new Promise(done => setTimeout(done, 1500)) // until the address has it
  const state = () => tab.evaluate(() => JSON.stringify(document.querySelector(".explore").explore.state()))
  const left = await state()
  await next(PAGES[0], () => history.back())
  await next(PAGES[1], () => history.forward())
  if ((await state()) !== left) say(`forward gives ${await state()} for ${left}`)
  if (await tab.$(".run button")) {
    await tab.evaluate(() => (window.Worker = class extends Worker { constructor(...given) { super(...given); window.started = (window.started ?? 0) + 1 } }))
    const run = async page => {
      await tab.evaluate(() => document.querySelector(".run button").click())
      await tab.waitForFunction(() => /^Ran/.test(document.querySelector(".run-state").textContent)).catch(() => say(`Run does not run on ${page}`))
    }
    await run(PAGES[1])
    await next(PAGES[0], () => history.back())
    await run(PAGES[0])
    const started = await tab.evaluate(() => window.started)
    if (started !== 1) say(`Python started ${started} times for two pages`)
  }
  await browser.close()
}
server.close()
for (const fault of faults) console.log(fault)
console.log(`${faults.length} faults`)
process.exit(faults.length ? 1 : 0)
