/** What went wrong, as one sentence in the language of the page. */

export class Problem extends Error {
  /**
   * @param {string} text which text of texts.js says it
   * @param {Object<string, unknown>} values what goes into it
   * @param {import("./refusals.js").Refusal[]} refusals of recordings, where the service refused some
   * @param {Promise<void> | null} over fulfilled when it is over, where that shows by itself
   */
  constructor(text, values = {}, refusals = [], over = null) {
    super(text);
    this.words = { text, values };
    this.refusals = refusals;
    this.over = over;
  }
}

/** @param {unknown} error what was thrown */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error); // a mistake of this page: its developer wants to see it
  return new Problem("error_page");
}
