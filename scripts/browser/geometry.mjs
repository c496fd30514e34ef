// Whether every page of a built site can be read: node geometry.mjs SITE [--pages momentum,adam] [--browsers chromium,firefox]
//
// Each page is opened in Chromium and Firefox at three widths (the reference at two) with every fold open. A fault is: text that is cut off at the left or the
// right with no way to scroll there, a page wider than the screen, a control that lies on text, two boxes of text that overlap, a formula without its comma, a box that scrolls
// and that the keyboard does not reach, a first load of more than 400 kB (gzipped, as hosts send it), what its policy refuses. Prints a line for each fault, then a
// count; exits with 1 if there are faults.

import { readFileSync, readdirSync, statSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import { parseArgs } from "node:util"
import { gzipSync } from "node:zlib"
import puppeteer from "puppeteer-core"
import { BROWSERS, fail, launching, serve, whole } from "./site.mjs"

const WIDTHS = [360, 768, 1280]
const LOAD = 400_000 // bytes

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pages: { type: "string" }, browsers: { type: "string" } } })
const site = resolve(positionals[0] ?? "site")

function pagesOf(folder) {
  return readdirSync(folder).flatMap(name => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? pagesOf(path) : name.endsWith(".html") ? [relative(site, path)] : []
  })
}

// Runs in the page.
function faults() {
  const ROOT = ".md-content"
  const [visible, scrollers, clippers] = [new Map(), new Map(), new Map()]
  const found = []
  const say = (kind, node, what) => {
    const text = (what ?? node?.textContent ?? "").trim().replace(/\s+/g, " ").slice(0, 60)
    found.push(`${kind}: ${text}`)
  }
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth > width + 1) {
    const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right + scrollX > width + 1 && !scroller(e.parentElement))
    say(`the page is ${document.documentElement.scrollWidth} px wide`, wide[0])
  }
  // What a reader sees of an element: not what is hidden, folded, or there for screen readers alone.
  function shown(element) {
    if (!element || element === document.body) return true
    if (!visible.has(element)) {
      const style = getComputedStyle(element)
      const hidden = style.display === "none" || style.visibility === "hidden" || style.opacity === "0" || style.clip !== "auto" || style.clipPath === "inset(50%)"
      visible.set(element, !hidden && !element.matches(".katex-mathml, .headerlink, .md-tooltip") && shown(element.parentElement))
    }
    return visible.get(element)
  }
  function scroller(element) {
    if (!element || element === document.documentElement) return null
    if (!scrollers.has(element)) {
      const scrolls = element.scrollWidth > element.clientWidth && /auto|scroll/.test(getComputedStyle(element).overflowX)
      scrollers.set(element, scrolls ? element : scroller(element.parentElement))
    }
    return scrollers.get(element)
  }
  // The right edge at which what an element holds is cut off for good; null where it can be scrolled to.
  function clipper(element) {
    if (!element || element === document.body) return null
    if (!clippers.has(element)) {
      const overflow = getComputedStyle(element).overflowX
      clippers.set(element, overflow === "hidden" ? element.getBoundingClientRect().right : /auto|scroll/.test(overflow) ? null : clipper(element.parentElement))
    }
    return clippers.get(element)
  }
  const boxes = [] // of text: { left, top, right, bottom, block, node }
  const push = (rect, block, node) => {
    if (rect.width < 1 || rect.height < 1) return
    const seen = scroller(node)?.getBoundingClientRect() // what has been scrolled away lies on nothing
    const right = Math.min(rect.right, seen?.right ?? Infinity)
    if (rect.left < right) boxes.push({ left: rect.left, top: rect.top + scrollY, right, bottom: rect.bottom + scrollY, block, node })
  }
  const formulas = new Set()
  const walker = document.createTreeWalker(document.querySelector(ROOT), NodeFilter.SHOW_TEXT)
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const parent = text.parentElement
    if (!text.textContent.trim() || parent.closest("script, style, template, noscript")) continue
    const formula = parent.closest(".katex, math")
    if (formula) {
      if (!formulas.has(formula) && shown(formula)) push((formula.querySelector(".katex-html") ?? formula).getBoundingClientRect(), formula.closest("p, li, td, th, div, h1, h2, h3, h4, figcaption, dd, dt"), formula)
      formulas.add(formula)
      continue
    }
    if (!shown(parent)) continue
    const block = parent.closest("text") ?? parent.closest("p, li, td, th, pre, h1, h2, h3, h4, figcaption, summary, dt, dd, button, label, output, div")
    const range = document.createRange()
    range.selectNodeContents(text)
    for (const rect of range.getClientRects()) push(rect, block, parent)
  }
  for (const box of boxes) {
    const scrolling = scroller(box.node)
    const edge = scrolling ? scrolling.getBoundingClientRect().left + scrolling.clientLeft - scrolling.scrollLeft : 0
    if (box.left < edge - 1.5) say("cut off at the left", box.node)
    const bound = clipper(box.node.parentElement)
    if (bound !== null && box.right > bound + 1.5) say("cut off at the right", box.node)
  }
  for (const control of document.querySelectorAll(`${ROOT} :is(button, input, select, .md-code__nav)`)) {
    if (!shown(control) || getComputedStyle(control).pointerEvents === "none") continue
    const c = control.getBoundingClientRect(), top = c.top + scrollY, bottom = c.bottom + scrollY // asking for scrollY at each box takes ten seconds
    if (!c.width || !c.height) continue
    for (const box of boxes) {
      const dx = Math.min(c.right, box.right) - Math.max(c.left, box.left), dy = Math.min(bottom, box.bottom) - Math.max(top, box.top)
      if (dx > 1 && dy > 3 && !control.contains(box.node) && !box.node.closest("button, label, output") && !box.node.contains(control)) {
        say(`a control lies on text (${control.className || control.tagName.toLowerCase()})`, box.node)
        break
      }
    }
  }
  for (const glued of document.querySelectorAll(`${ROOT} .nobr`)) {
    const formula = glued.querySelector(".katex-html"), tail = glued.lastChild, range = document.createRange()
    if (tail.nodeType !== Node.TEXT_NODE || !formula?.getClientRects().length) continue
    range.selectNodeContents(tail)
    if (range.getBoundingClientRect().left < formula.getBoundingClientRect().right - 3) say("a formula's comma is on another line", glued)
  }
  boxes.sort((a, b) => a.top - b.top)
  const overlapping = new Set()
  for (let i = 0; i < boxes.length; i++)
    for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom; j++) {
      const [a, b] = [boxes[i], boxes[j]]
      if (a.block === b.block || a.block?.contains(b.block) || b.block?.contains(a.block)) continue
      const inset = 0.28 * Math.min(a.bottom - a.top, b.bottom - b.top) // a line's box is taller than its letters
      const dx = Math.min(a.right, b.right) - Math.max(a.left, b.left), dy = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) - inset
      if (dx < 2 || dy < 1) continue
      const key = `${a.node.textContent.trim().slice(0, 30)} | ${b.node.textContent.trim().slice(0, 30)}`
      if (!overlapping.has(key)) say("two texts overlap", null, key)
      overlapping.add(key)
    }
  for (const box of document.querySelectorAll(`${ROOT} :is(pre, code, div, table, figure, details, p, span.math, ul, ol)`))
    if (box.scrollWidth > box.clientWidth + 1 && !box.closest(".katex") && /auto|scroll/.test(getComputedStyle(box).overflowX) && box.tabIndex < 0 && !box.querySelector("a, button, [tabindex]") && shown(box))
      say("it scrolls and the keyboard does not reach it", box)
  return found
}

const weights = new Map()
function weight(file) {
  if (!weights.has(file)) weights.set(file, gzipSync(readFileSync(file)).length)
  return weights.get(file)
}

const wanted = values.pages?.split(",")
const pages = pagesOf(site).filter(page => page.endsWith("index.html") || page === "404.html").filter(page => !wanted || wanted.some(name => page.includes(name))).sort()
if (!pages.length) fail(`--pages is ${values.pages}: no page of ${site} has that name`)

async function look(name) {
  const browser = await puppeteer.launch(launching(name))
  const loaded = new Set()
  const { server, address } = await serve(site, { sent: file => loaded.add(file) })
  let count = 0
  try {
    for (const page of pages) {
      loaded.clear()
      const reader = await browser.createBrowserContext() // with nothing yet of what the pages share
      const tab = await reader.newPage()
      await tab.setViewport({ width: WIDTHS[0], height: 900 })
      await tab.evaluateOnNewDocument(() => {
        window.refused = []
        addEventListener("securitypolicyviolation", event => window.refused.push(`${event.violatedDirective} ${event.blockedURI}`))
      })
      await tab.goto(address(page), { waitUntil: "networkidle0", timeout: 60_000 })
      const bytes = [...loaded].reduce((sum, file) => sum + weight(file), 0)
      if (bytes > LOAD) {
        console.log(`${page} in ${name}: ${bytes.toLocaleString("en")} bytes at the first load; at most ${LOAD.toLocaleString("en")}`)
        count++
      }
      for (const width of page.startsWith("api/") ? [WIDTHS[0], WIDTHS.at(-1)] : WIDTHS) {
        await tab.setViewport({ width, height: 900 })
        await whole(tab) // so that nothing moves while it is measured
        await tab.evaluate(async () => {
          for (const fold of document.querySelectorAll("details")) fold.open = true
          await document.fonts.ready
          const drawn = () => new Promise(done => [requestAnimationFrame(done), setTimeout(done, 200)]) // a window that nobody sees may draw nothing
          for (let y = 0; y < document.body.scrollHeight; y += innerHeight) { // what comes with the screen is there then
            scrollTo(0, y)
            await drawn()
          }
          await drawn()
          await new Promise(done => setTimeout(done, 300)) // site.js waits 200 ms before it looks at what scrolls
        })
        for (const fault of await tab.evaluate(faults)) {
          console.log(`${page} at ${width} px in ${name}: ${fault}`)
          count++
        }
      }
      for (const refused of await tab.evaluate(() => window.refused)) {
        console.log(`${page} in ${name}: its policy refuses ${refused}`)
        count++
      }
      await reader.close()
      process.stderr.write(`${name}: ${page} ${bytes}\n`)
    }
  } finally {
    server.close()
    await browser.close()
  }
  return count
}

const counts = await Promise.all((values.browsers?.split(",") ?? Object.keys(BROWSERS)).map(look))
const total = counts.reduce((a, b) => a + b, 0)
console.log(`${pages.length} pages, ${WIDTHS.length} widths, ${counts.length} browsers: ${total} faults`)
process.exit(total ? 1 : 0)
