/** Shows the page that compares clips, in the palette of the site, where the site comes from a web server. */

for (const place of document.querySelectorAll(".compare-here")) {
  const frame = place.querySelector("iframe");
  if (!frame) continue;
  if (location.protocol === "file:") {
    place.querySelector("p").hidden = false;
    frame.remove();
  } else {
    frame.src = frame.dataset.address;
  }
}
