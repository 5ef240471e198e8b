// An option can be searched for as it is written: two dashes before a word would mean "without it" to the search.
document.addEventListener(
  "keyup",
  (event) => {
    const field = event.target;
    if (field.matches?.("input[name=query]") && /(^|\s)--/.test(field.value))
      field.value = field.value.replace(/(^|\s)--+/g, "$1");
  },
  true,
);
