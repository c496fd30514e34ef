// What a block's copy puts before it, from the page's list of such lines by their numbers: hidden but while it is copied.
"use strict"
{
  const put = () => {
    const lines = JSON.parse(document.getElementById("needs")?.innerHTML ?? "[]")
    for (const block of document.querySelectorAll("[data-needs]")) {
      const needs = Object.assign(document.createElement("span"), { className: "needs", hidden: true })
      needs.textContent = block.dataset.needs.split(" ").map(at => lines[at]).join("\n") + "\n\n"
      block.querySelector("code").prepend(needs)
    }
  }
  if (window.document$) window.document$.subscribe(put)
  else put()
}
