"use strict";
// Search as one types, addresses that can be shared, further hits at the end, kept searches. What arrives is HTML of
// our own server, in which every name is escaped; names are set here as text alone.
(() => {
  const form = document.querySelector("form.search");
  const input = form.elements.q;
  const found = document.getElementById("found");
  const keep = document.getElementById("keep");
  const kept = document.getElementById("kept");
  const WAIT_MS = 80;
  let waiting = 0, asking = null;

  const address = () => {
    const asked = new URLSearchParams();
    const usual = { sort: "score", by: "video" };
    for (const [name, value] of new FormData(form)) if (value.trim() && value !== usual[name]) asked.append(name, value);
    return asked.has("q") || asked.has("like") ? "?" + asked : "";
  };

  async function cards(asked) {
    asking?.abort();
    asking = new AbortController();
    const answer = await fetch("/cards" + asked, { signal: asking.signal }).catch((error) => {
      throw error.name === "AbortError" ? error : new Error("The server does not answer. Does hcq serve still run?");
    });
    if (answer.ok) return answer.text();
    const told = await answer.json().catch(() => ({}));
    throw new Error([told.error || "the server does not answer", told.hint].filter(Boolean).join(": "));
  }

  function say(message) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = message;
    found.replaceChildren(note);
    found.removeAttribute("aria-busy");
  }

  async function search(remember) {
    const asked = address();
    found.setAttribute("aria-busy", "true");
    try {
      const html = asked ? await cards(asked) : "";
      found.innerHTML = html;
      found.removeAttribute("aria-busy");
      document.title = (input.value.trim() ? input.value.trim() + " – " : "") + "hcq";
      history[remember ? "pushState" : "replaceState"](null, "", "/" + asked);
      show();
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, WAIT_MS, false);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search(true);
  });
  addEventListener("popstate", () => location.reload());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    input.select();
  });

  // The next page of hits joins the list when its end comes into view, or by its link.
  async function more(link) {
    const place = link.closest(".more");
    place.textContent = "…";
    const page = document.createElement("template");
    page.innerHTML = await (await fetch(link.getAttribute("href").replace(/^\//, "/cards"))).text();
    const next = page.content.querySelector(".more");
    [...found.querySelectorAll(".cards")].at(-1).append(...page.content.querySelectorAll(".card"));
    next ? place.replaceWith(next) : place.remove();
    watch();
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      seen.unobserve(entry.target);
      more(entry.target).catch(() => {});
    }
  }, { rootMargin: "600px" });
  const watch = () => found.querySelectorAll(".more a").forEach((link) => seen.observe(link));
  new MutationObserver(watch).observe(found, { childList: true });
  watch();

  // Where there is room, what narrows a search lies open.
  form.querySelector("details").open ||= matchMedia("(min-width: 48rem)").matches;

  function named(asked) {
    const likes = asked.getAll("like").length;
    const told = [...asked].filter(([name]) => name !== "like").map(([, value]) => value);
    return [...told, likes && `like ${likes} of the videos`].filter(Boolean).join(" · ");
  }
  const read = () => { try { return JSON.parse(localStorage.getItem("kept") || "[]"); } catch { return []; } };
  function show() {
    const searches = read();
    keep.hidden = !address();
    keep.setAttribute("aria-pressed", searches.includes(address()));
    kept.hidden = !searches.length;
    kept.replaceChildren(...searches.map((asked) => {
      const link = document.createElement("a");
      link.href = "/" + asked;
      link.textContent = named(new URLSearchParams(asked));
      return link;
    }));
  }
  keep.addEventListener("click", () => {
    const asked = address(), before = read();
    if (!asked) return;
    const after = before.includes(asked) ? before.filter((other) => other !== asked) : [asked, ...before].slice(0, 20);
    try { localStorage.setItem("kept", JSON.stringify(after)); } catch { /* nothing may be kept here */ }
    show();
  });
  show();
})();
