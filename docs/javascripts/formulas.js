// What a reader copies has each formula once, as TeX: on the page it stands three times, to be seen, to be heard, and as it was written.
"use strict"
document.addEventListener("copy", event => {
  const selection = getSelection()
  if (!selection.rangeCount) return
  const copied = selection.getRangeAt(0).cloneContents()
  const formulas = copied.querySelectorAll("var.katex:not(.rest)")
  if (!formulas.length) return
  for (const formula of formulas) {
    const tex = formula.querySelector("annotation")
    if (!tex) continue // the selection begins within it
    const mark = formula.closest(".katex-display") ? "$$" : "$"
    formula.replaceWith(mark + tex.textContent + mark)
  }
  copied.querySelectorAll("var.rest").forEach(part => part.remove())
  event.clipboardData.setData("text/plain", copied.textContent.trim())
  event.preventDefault()
})
