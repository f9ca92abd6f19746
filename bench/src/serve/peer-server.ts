// A server around CTranslate2, with the same model and requests: whoever is asked first, the texts are the same.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BenchmarkError } from '../harness/harness.js';
import type { Peer } from '../harness/peers.js';
import { Client } from './client.js';

export class PeerServer implements AsyncDisposable {
  readonly client: Client;
  readonly #child: ChildProcess;

  private constructor(client: Client, child: ChildProcess) {
    this.client = client;
    this.#child = child;
  }

  /** @param casePath what `serve_ctranslate2.py` is to serve */
  static async start(peer: Peer, casePath: string): Promise<PeerServer> {
    const script = fileURLToPath(new URL('../../peers/serve_ctranslate2.py', import.meta.url));
    const child = spawn(peer.python, [script, casePath], { stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (piece) => {
      errors += String(piece);
    });
    let text = '';
    for await (const piece of child.stdout.setEncoding('utf8')) {
      text += piece as string;
      const url = /Serving on (\S+)\n/.exec(text)?.[1];
      if (url) return new PeerServer(new Client(url), child);
    }
    throw new BenchmarkError(`${peer.title} did not start to serve: ${errors}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.client.close();
    this.#child.kill('SIGKILL');
    await ended;
  }
}
