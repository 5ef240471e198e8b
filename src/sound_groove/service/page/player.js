/** The one player of the page's clips: what begins to play stops what played before. */

const audio = new Audio();
let source = "";
/** @type {{moved: (seconds: number, isPlaying: boolean) => void} | null} whose sound it is */
let owner = null;

document.addEventListener("play", () => audio.pause(), true); // the player of a long recording stands on its own
for (const event of ["play", "pause", "ended", "seeked", "emptied"]) audio.addEventListener(event, tell);

/** Tell the owner where it is, over and over while it plays. */
function tell() {
  owner?.moved(audio.currentTime, !audio.paused);
  if (!audio.paused) requestAnimationFrame(tell);
}

function take(view, url) {
  if (owner === view && source === url) return;
  audio.pause();
  owner?.moved(audio.currentTime, false);
  [owner, source] = [view, url];
  audio.src = url;
}

/** Play from there on, or pause where this view's sound is playing. */
export function toggle(view, url, seconds) {
  take(view, url);
  if (!audio.paused) {
    audio.pause();
    return;
  }
  for (const other of document.querySelectorAll("audio")) other.pause();
  if (Math.abs(audio.currentTime - seconds) > 0.01) audio.currentTime = seconds;
  audio.play().catch(() => view.moved(seconds, false)); // it was taken away meanwhile
}

/** Go on from there, where this view's sound is playing. */
export function seek(view, seconds) {
  if (owner === view && !audio.paused) audio.currentTime = seconds;
}

/** Let go of a view's sound. */
export function release(view) {
  if (owner !== view) return;
  owner = null;
  source = "";
  audio.pause();
  audio.removeAttribute("src");
}
