// node.js spawn|cat|flow N: `true`, N times; or N MB through `cat`, as one buffer, or in pieces that aren't kept.
// Prints the seconds of one.
'use strict';
const { spawn } = require('child_process');

const WARM = 20;
const MB = 1000000;
const PIECE = 65536;

const run = (command, input) => new Promise((resolve, reject) => {
  const pieces = [];
  const child = spawn(command, { stdio: input ? ['pipe', 'pipe', 'inherit'] : ['ignore', 'inherit', 'inherit'] });
  child.on('error', reject);
  child.on('close', (code) => (code ? reject(new Error(code)) : resolve(Buffer.concat(pieces))));
  if (!input) return;
  child.stdout.on('data', (piece) => pieces.push(piece));
  child.stdin.end(input);
});

const measure = {
  async spawn(n) {
    for (let i = 0; i < WARM; i++) await run('true');
    const begun = performance.now();
    for (let i = 0; i < n; i++) await run('true');
    return (performance.now() - begun) / n;
  },
  async cat(n) {
    const input = Buffer.alloc(n * MB, 'x');
    const begun = performance.now();
    const output = await run('cat', input);
    const took = performance.now() - begun;
    if (!output.equals(input)) throw new Error('output was lost');
    return took;
  },
  async flow(n) {
    const piece = Buffer.alloc(PIECE, 'x');
    const begun = performance.now();
    const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => { cat.on('close', resolve); });
    let left = n * MB;
    let got = 0;
    cat.stdout.on('data', (data) => { got += data.length; });
    const send = () => {
      while (left > 0) {
        const next = left < PIECE ? piece.subarray(0, left) : piece;
        left -= next.length;
        if (!cat.stdin.write(next)) return cat.stdin.once('drain', send);
      }
      return cat.stdin.end();
    };
    send();
    await ended;
    if (got !== n * MB) throw new Error('output was lost');
    return performance.now() - begun;
  },
};

const [mode, n] = process.argv.slice(2);
measure[mode](Number(n)).then((ms) => console.log((ms / 1000).toFixed(9)));
