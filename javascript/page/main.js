/** The page in which clips are compared where the reader is: the sections of the service's page that need no service. */

import { beginCompare } from "./compare.js";
import { beginDrop } from "./drop.js";
import { find } from "./elements.js";
import { beginEnrol, sayWhetherKnown } from "./enrol.js";
import { beginLanguage, say } from "./language.js";
import { setLimits } from "./limits.js";
import { refreshPeople } from "./people.js";
import { beginSpeakers } from "./speakers.js";
import { beginTabs } from "./tabs.js";

const LONGEST_S = 600;
const wanted = new URLSearchParams(location.search).get("language");
const frame = window.frameElement;

try {
  if (wanted) localStorage.setItem("sound-groove language", wanted); // as if it had been chosen here
} catch {
  // A browser that stores nothing goes by its own language.
}
document.documentElement.classList.toggle("framed", Boolean(frame));
beginLanguage();
setLimits({ upload_bytes: Infinity, duration_s: LONGEST_S, recordings: 20, who: { upload_bytes: Infinity } });
beginDrop({ compare: beginCompare(), enrol: beginEnrol() });
const shown = { speakers: beginSpeakers(), enrol: () => refreshPeople().then(sayWhetherKnown) };
beginTabs((name) => shown[name]?.());

document.addEventListener("loading", ({ detail }) => {
  find("first").hidden = true;
  find("loading").hidden = !detail;
  if (!detail) return;
  const { bytes, total } = detail;
  const megabytes = (value) => (value / 1e6).toFixed(1);
  find("loading-bar").value = bytes / total;
  const isThere = bytes >= total && bytes > 20e6;
  say(find("loading-text"), isThere ? { text: "starting" } : { text: "loading", values: { loaded: megabytes(bytes), total: megabytes(total) } });
});

/** Show the palette that the site around the page shows, whatever the system's. */
function followPalette() {
  const isDark = parent.document.body.dataset.mdColorScheme === "slate";
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  document.documentElement.classList.toggle("dark", isDark);
  for (const { cssRules } of document.styleSheets) {
    for (const rule of cssRules) {
      if (!(rule instanceof CSSMediaRule)) continue;
      if (rule.conditionText.includes("prefers-color-scheme")) dark.add(rule);
    }
  }
  for (const rule of dark) rule.media.mediaText = isDark ? "all" : "not all";
}

/** Rules for dark palettes. @type {Set<CSSMediaRule>} */
const dark = new Set();

if (frame) {
  followPalette();
  new MutationObserver(followPalette).observe(parent.document.body, { attributeFilter: ["data-md-color-scheme"] });
  new ResizeObserver(() => { frame.style.height = `${Math.ceil(document.body.getBoundingClientRect().height) + 2}px`; }).observe(document.body);
  // Within a frame as high as its content all is in view; whether it is on the page around it, only scrolling tells.
  new MutationObserver(() => document.querySelector("[role=tabpanel]:not([hidden]) .answer")?.scrollIntoView({ block: "nearest" }))
    .observe(document.querySelector("main"), { childList: true, subtree: true });
}
