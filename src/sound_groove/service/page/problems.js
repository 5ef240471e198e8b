/** What went wrong, as one sentence in the language of the page. */

export class Problem extends Error {
  /**
   * @param {string} text which text of texts.js says it
   * @param {Object<string, unknown>} values what goes into it
   * @param {string[]} details what else the service said, one sentence each
   */
  constructor(text, values = {}, details = []) {
    super(text);
    this.words = { text, values };
    this.details = details;
  }
}

/** @param {unknown} error what was thrown */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error); // a mistake of this page: its developer wants to see it
  return new Problem("error_page");
}
