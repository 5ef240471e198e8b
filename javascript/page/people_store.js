/** Who is enrolled in this browser: voiceprints in its IndexedDB, and no audio. */

const [DATABASE, STORE, VERSION] = ["sound-groove", "people", 1];

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "name" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} ask
 * @returns {Promise<any>} what it found, once it is on the disk
 */
async function done(mode, ask) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = ask(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** All who are enrolled, by name. */
export function all() {
  return done("readonly", (store) => store.getAll());
}

/** @param {string} name */
export function person(name) {
  return done("readonly", (store) => store.get(name));
}

/** @param {{name: string, model: string, recordings: object[]}} one */
export function keep(one) {
  return done("readwrite", (store) => store.put(one));
}

/** @param {string} name */
export function erase(name) {
  return done("readwrite", (store) => store.delete(name));
}
