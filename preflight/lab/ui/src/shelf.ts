/** What must outlive the page: rows in the browser's own database, and which tabs of this browser are alive. */

/** One document as a tab holds it, while the bucket may lack some of it. */
export interface Kept {
  readonly key: string;
  readonly tab: string;
  /** Of which folder: another one may be served at the same address later. */
  readonly folder: string;
  readonly path: string;
  readonly type: string;
  /** The server's session that the document was opened in. */
  readonly session: string;
  readonly at: number;
  /** The document's whole history. */
  readonly update: Uint8Array;
}

const DATABASE = 'preflight-lab';
const ROWS = 'unsaved';
const CHANNEL = 'preflight-lab:tabs';
/** A tab in the background answers within some 100 ms; a frozen one does not, and then its text is kept twice. */
const ANSWER_MS = 1500;
const FORGOTTEN_MS = 30 * 86400 * 1000;

export class Shelf {
  constructor() {
    this.tab = [...crypto.getRandomValues(new Uint8Array(8))].map(byte => byte.toString(16).padStart(2, '0')).join('');
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.addEventListener('message', ({ data }: MessageEvent<{ who?: true; here?: string }>) => {
      if (data.who) {
        this.channel.postMessage({ here: this.tab });
      } else if (data.here) {
        this.alive.add(data.here);
      }
    });
  }

  readonly tab: string;

  /** Never rejects: without a database (a private window) the page works as before. */
  async put(row: Kept): Promise<void> {
    await this.run('readwrite', rows => rows.put(row));
  }

  async drop(key: string): Promise<void> {
    await this.run('readwrite', rows => rows.delete(key));
  }

  async all(): Promise<readonly Kept[]> {
    return (await this.run<Kept[]>('readonly', rows => rows.getAll() as IDBRequest<Kept[]>)) ?? [];
  }

  /** What tabs left that are no more: closed, crashed or loaded anew. */
  async orphans(): Promise<readonly Kept[]> {
    const rows = await this.all();
    if (rows.length) {
      this.channel.postMessage({ who: true });
      await new Promise(done => window.setTimeout(done, ANSWER_MS));
    }
    const left = rows.filter(row => row.tab !== this.tab && !this.alive.has(row.tab));
    const old = left.filter(row => row.at < Date.now() - FORGOTTEN_MS);
    await Promise.all(old.map(row => this.drop(row.key)));
    return left.filter(row => !old.includes(row));
  }

  private async run<T>(mode: IDBTransactionMode, what: (rows: IDBObjectStore) => IDBRequest): Promise<T | null> {
    try {
      const database = await (this.database ??= open());
      return await new Promise<T>((done, failed) => {
        const transaction = database.transaction(ROWS, mode);
        const request = what(transaction.objectStore(ROWS));
        transaction.oncomplete = () => done(request.result as T);
        transaction.onabort = () => failed(transaction.error);
      });
    } catch (error) {
      console.warn('Unsaved text cannot be kept in this browser', error);
      return null;
    }
  }

  private database: Promise<IDBDatabase> | undefined;
  private readonly channel: BroadcastChannel;
  private readonly alive = new Set<string>();
}

function open(): Promise<IDBDatabase> {
  return new Promise((done, failed) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(ROWS, { keyPath: 'key' });
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
    request.onblocked = () => failed(new Error('blocked'));
  });
}
