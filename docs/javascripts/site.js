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
  // A table or code too wide for the screen scrolls in a box that the keyboard must reach (axe: scrollable-region-focusable);
  // Material cares for code where there is a mouse, and takes the attribute away elsewhere.
  const drawn = box => box.checkVisibility?.({ contentVisibilityAuto: true }) ?? true // else to measure it would draw it
  const cure = (within = document) => {
    within.querySelectorAll(".md-code__nav:not([role])").forEach(nav => nav.setAttribute("role", "none"))
    for (const box of within.querySelectorAll(":is(.md-typeset__scrollwrap, pre > code):not([tabindex][role])"))
      if ((within !== document || drawn(box)) && box.scrollWidth > box.clientWidth) {
        const label = box.tagName === "CODE" ? "code" : "table"
        for (const [name, value] of Object.entries({ tabindex: 0, role: "group", "aria-label": label })) box.setAttribute(name, value)
      }
  }

  // What lies above a place that a link names is laid out only as it comes near, and is longer or shorter than was thought: for some seconds,
  // or until the reader moves the page, the place stays where the link brought it.
  let sought = "", end = 0
  const seek = hash => {
    sought = hash
    clearTimeout(end)
    end = setTimeout(() => (sought = ""), 5000)
  }
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") seek(location.hash)
  document.addEventListener("click", ({ target }) => seek(target.closest("a[href]")?.hash ?? ""))
  for (const hand of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(hand, () => (sought = ""), { capture: true, passive: true })
  document.addEventListener("contentvisibilityautostatechange", () => document.getElementById(decodeURIComponent(sought.slice(1)))?.scrollIntoView(), true)

  let due = 0 // it measures every block: once, when the page has come to rest
  const soon = () => { due ||= setTimeout(() => { due = 0; cure() }, 200) }
  const changes = new MutationObserver(records => {
    for (const { target } of records) if (target.matches?.("[role=group]:is(code, .md-typeset__scrollwrap):not([tabindex])")) target.setAttribute("tabindex", 0)
    soon()
  })
  addEventListener("resize", soon)
  document.addEventListener("contentvisibilityautostatechange", event => event.skipped || cure(event.target), true)
  document.addEventListener("toggle", event => event.target.open && cure(event.target), true)
  addEventListener("load", () => {
    const watch = () => {
      changes.disconnect()
      changes.observe(document.querySelector(".md-content"), { childList: true, subtree: true, attributeFilter: ["tabindex"] })
      cure()
    }
    if (window.document$) window.document$.subscribe(watch)
    else watch()
  })
}
