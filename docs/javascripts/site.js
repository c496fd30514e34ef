// What the theme does on every page, set right; it runs before the theme's own script.
"use strict"
{
  const { open, send } = XMLHttpRequest.prototype, searching = /[?&][qh]=/.test(location.search)

  // Of pages opened as files the theme would change none, and tell no script that the page is there.
  if (location.protocol === "file:") {
    const said = document.getElementById("__config"), config = JSON.parse(said.textContent)
    config.features = config.features.filter(feature => feature !== "navigation.instant")
    said.textContent = JSON.stringify(config)
  }

  // The theme changes pages without loading them where the site's map names them. The map names the host for which the site was built; the
  // navigation names the same pages wherever it is read from.
  const map = () => {
    const pages = new Set([...document.querySelectorAll(".md-nav--primary a[href], .md-logo[href]")].map(link => link.href.split("#")[0]))
    const lines = [...pages].map(page => `<url><loc>${page.replaceAll("&", "&amp;")}</loc></url>`)
    return URL.createObjectURL(new Blob([`<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">${lines.join("")}</urlset>`], { type: "application/xml" }))
  }

  // The index of the search is larger than any page, and the theme asks for it at once: here, when a reader turns to the search.
  XMLHttpRequest.prototype.open = function (method, address, ...rest) {
    this.waits = !searching && String(address).endsWith("search_index.json")
    return open.call(this, method, String(address).endsWith("/sitemap.xml") ? map() : address, ...rest)
  }
  XMLHttpRequest.prototype.send = function (body) {
    if (!this.waits) return send.call(this, body)
    document.addEventListener("focusin", event => {
      if (this.waits && event.target.matches("[data-md-component=search-query]")) {
        this.waits = false
        send.call(this, body)
      }
    })
  }

  // Material makes a nav of every code block's buttons, all without a name: they are no landmarks (axe: landmark-unique).
  // What is too wide for the screen scrolls in a box that the keyboard must reach (axe: scrollable-region-focusable), and what does not scroll
  // is no stop. Material cares for code where there is a mouse, and takes the attribute away elsewhere.
  const drawn = box => box.checkVisibility?.({ contentVisibilityAuto: true }) ?? true // else to measure it would draw it
  const cure = (within = document) => {
    within.querySelectorAll(".md-code__nav:not([role])").forEach(nav => nav.setAttribute("role", "none"))
    const boxes = [...within.querySelectorAll(":is(.md-typeset__scrollwrap, pre > code, .math, .derivation)")].filter(box => within !== document || drawn(box))
    const wide = boxes.map(box => box.scrollWidth > box.clientWidth) // all are measured before any is changed
    boxes.forEach((box, at) => {
      if (!wide[at]) return box.removeAttribute("tabindex")
      const label = box.getAttribute("aria-label") ?? (box.tagName === "CODE" ? "code" : "table")
      for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": label })) if (box.getAttribute(name) !== value) box.setAttribute(name, value)
    })
  }

  // What lies above is laid out only as it comes near, and is longer or shorter than was thought. So a place that a link names stays, for some
  // seconds or until the reader moves the page, where the link brought it; and where a reader comes back to a page, or loads it anew, what was read
  // is found by the heading above it: `sessionStorage` has its id and how far from the top it was.
  let sought = null, end = 0 // an id, and its distance from the top if it is known
  const keep = () => {
    const there = sought && document.getElementById(sought.id)
    if (!there) return
    if (sought.top === undefined) there.scrollIntoView()
    else scrollBy({ top: there.getBoundingClientRect().top - sought.top, behavior: "instant" })
  }
  const seek = (id, top) => {
    sought = id ? { id, top } : null
    clearTimeout(end)
    end = setTimeout(() => (sought = null), 5000)
  }
  const tried = act => { try { return act() } catch { return null } } // an address may be none, and a browser keep nothing
  const named = hash => tried(() => decodeURIComponent(hash.slice(1)))
  const left = () => tried(() => JSON.parse(sessionStorage.getItem(`place ${location.href}`)))
  let page = location.pathname, back = null, noting = 0, followed = ""
  const note = () => {
    const above = [...document.querySelectorAll(".md-content :is(h1, h2, h3)[id]")].findLast(heading => heading.getBoundingClientRect().top < innerHeight / 2)
    if (above && !sought && page === location.pathname) tried(() => sessionStorage.setItem(`place ${location.href}`, JSON.stringify([above.id, above.getBoundingClientRect().top])))
  }
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") seek(named(location.hash))
  else back = left()
  document.addEventListener("click", ({ target }) => { // before the theme changes the address
    const link = target.closest("a[href]")
    sought = null
    note() // what was kept of this address may be of another time
    seek(named(link?.hash ?? ""))
    followed = link?.href
  }, true)
  for (const hand of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(hand, () => (sought = null), { capture: true, passive: true })
  addEventListener("popstate", () => {
    const link = followed
    followed = ""
    if (location.href === link) return // it led to a place in this page
    sought = null
    back = left()
    if (location.pathname === page) arrived()
  })
  addEventListener("scroll", () => {
    clearTimeout(noting)
    noting = setTimeout(note, 100)
  }, { passive: true })
  document.addEventListener("contentvisibilityautostatechange", keep, true)
  const arrived = () => {
    page = location.pathname
    if (!back) return
    seek(...back)
    back = null
    for (const later of [0, 100, 500]) setTimeout(keep, later) // the browser and the theme go by pixels meanwhile
  }

  let due = 0 // it measures every block: once, when the page has come to rest
  const soon = () => { due ||= setTimeout(() => { due = 0; cure() }, 200) }
  const changes = new MutationObserver(records => {
    for (const { target } of records) if (target.matches?.("pre > code[role=group]:not([tabindex])") && target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", 0)
    soon()
  })
  addEventListener("resize", soon)
  document.addEventListener("contentvisibilityautostatechange", event => event.skipped || cure(event.target), true)
  document.addEventListener("toggle", event => event.target.open && cure(event.target), true)
  // Of what is not laid out a screen reader hears nothing: once the page has been at rest for a while, or a key is pressed, all of it is, a section at a time.
  const rests = window.requestIdleCallback ?? (act => setTimeout(act, 200))
  const whole = () => rests(() => {
    const part = [...document.querySelectorAll(".part")].find(part => !part.style.contentVisibility)
    if (!part) return
    const { bottom, height } = part.getBoundingClientRect()
    part.style.contentVisibility = "visible"
    if (bottom <= 0 && !CSS.supports("overflow-anchor", "auto")) scrollBy(0, part.getBoundingClientRect().height - height) // else the browser holds what is read
    cure(part)
    whole()
  })
  addEventListener("keydown", whole, { once: true })
  let resting = 0
  // What draws the figures that a reader steers comes as the first of them comes near, or where the address names one.
  const here = document.currentScript.src
  const draws = () => {
    if (drawing || !document.querySelector(".explore")) return
    drawing = true
    near.disconnect()
    document.head.append(Object.assign(document.createElement("script"), { src: new URL("explore.js", here), onerror: () => (drawing = false) }))
  }
  const near = new ResizeObserver(boxes => boxes.some(({ contentRect }) => contentRect.width) && draws())
  let drawing = false
  addEventListener("hashchange", () => location.hash.startsWith("#play-") && draws())
  addEventListener("load", () => {
    const watch = () => {
      const figures = document.getElementById("figures")
      if (figures) figures.dataset.src = new URL(figures.dataset.src, location.href) // the address is the next page's before that has come
      if (location.hash.startsWith("#play-")) draws()
      else if (!drawing) for (const box of document.querySelectorAll(".explore")) near.observe(box)
      changes.disconnect()
      changes.observe(document.querySelector(".md-content"), { childList: true, subtree: true, attributeFilter: ["tabindex"] })
      cure()
      arrived()
      clearTimeout(resting)
      resting = setTimeout(whole, 6000)
    }
    if (window.document$) window.document$.subscribe(watch)
    else watch()
  })
}
