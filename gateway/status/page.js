"use strict";
// Every two seconds the page is asked for again, and its <main> takes the place of this one. Without scripts it reloads.
setInterval(async () => {
  const main = document.querySelector("main");
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" }, cache: "no-store" });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!answer.ok || next === null) throw new Error(answer.statusText);
    main.replaceWith(next);
  } catch {
    main.classList.add("silent");
    document.querySelector("#asked").textContent = "The gateway does not answer; this is its last report.";
  }
}, 2000);
