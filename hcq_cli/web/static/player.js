"use strict";
// Cards by keyboard, and a player that begins at the second that was found. Names are set as text, never as HTML.
(() => {
  const dialog = document.getElementById("player");
  const title = document.getElementById("player-title");
  const says = document.getElementById("player-says");
  const film = dialog.querySelector("video");
  // Not by where they are: that would lay out every card, and ten thousand take a minute.
  const links = () => [...document.querySelectorAll(".open[href]:not(details:not([open]) .open)")];
  let start = 0, preview = "", path = "", pictured = true;

  // Widths of pictures that stand for a file which is not where it was, and for one that gives none.
  const NOT_THERE = 16, NO_PICTURE = 32;

  function play(link) {
    const width = link.querySelector("img")?.naturalWidth, gone = width === NOT_THERE;
    path = link.querySelector(".title").title;
    pictured = width !== NO_PICTURE;
    start = Number(link.dataset.start) || 0;
    preview = pictured ? link.dataset.preview || "" : ""; // of what gives no picture none can be made
    title.textContent = link.dataset.title;
    says.textContent = gone ? "The file is no longer there: " + path : "";
    document.querySelector(".open video")?.remove();
    film.hidden = gone;
    if (!gone) film.src = link.href;
    dialog.showModal();
    if (!gone) film.play().catch(() => {}); // a browser that wants a click first shows its own button
  }

  film.addEventListener("loadedmetadata", () => {
    if (start && Math.abs(film.currentTime - start) > 0.25) film.currentTime = start;
    // Sound without a picture: the browser does not know the codec, and does not call it an error. Nor that of several
    // recordings in one file it knows the first.
    if (((pictured && !film.videoWidth) || start > film.duration) && !film.src.includes("/preview/")) cannotPlay();
  });
  film.addEventListener("error", () => film.getAttribute("src") && cannotPlay());

  function cannotPlay() {
    if (!preview) {
      says.textContent = "This browser cannot play the file. Its path: " + path;
      return;
    }
    says.textContent = "This browser cannot play the file: a preview is made of it, from the second that was found.";
    start = 0; // the preview begins there
    film.src = preview;
    preview = "";
    film.play().catch(() => {});
  }

  dialog.addEventListener("close", () => {
    film.pause();
    film.removeAttribute("src");
    film.load();
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".open[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    play(link);
  });

  document.addEventListener("keydown", (event) => {
    if (dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 0, ArrowUp: 0, j: 1, k: -1 };
    if (!(event.key in steps) || (typing && event.key !== "ArrowDown")) return;
    const all = links();
    if (!all.length) return;
    const now = all.indexOf(document.activeElement);
    const row = Math.max(1, all.findIndex((link) => rowOf(link) !== rowOf(all[0])));
    const step = event.key === "ArrowDown" ? row : event.key === "ArrowUp" ? -row : steps[event.key];
    const next = now < 0 ? 0 : Math.min(all.length - 1, Math.max(0, now + step));
    event.preventDefault();
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
  });

  const rowOf = (link) => link.closest(".card").getBoundingClientRect().top;

  // A film plays in its card, without sound, while the pointer or the focus rests there.
  const REST_MS = 400;
  let resting = 0;

  function glimpse(event) {
    const link = event.target.closest?.(".open[href]");
    if (link?.querySelector("video")) return;
    clearTimeout(resting);
    document.querySelector(".open video")?.remove();
    // What has no picture is not there, or no film: its stand-in is small.
    if (!link || !(link.querySelector("img")?.naturalWidth > 32) || matchMedia("(prefers-reduced-motion)").matches) return;
    resting = setTimeout(() => {
      if (dialog.open) return;
      const small = document.createElement("video");
      small.muted = small.loop = small.playsInline = true;
      small.src = link.href; // which names the second, too
      small.addEventListener("error", () => small.remove());
      link.append(small);
      small.play().catch(() => {});
    }, REST_MS);
  }
  document.addEventListener("pointerover", glimpse);
  document.addEventListener("focusin", glimpse);
})();
