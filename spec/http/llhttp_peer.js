// What Node's llhttp makes of bytes, at its strictest. Lines in: role method hex; lines out: one record each, as
// differences_spec reads it.
process.emitWarning = () => {};
const { HTTPParser } = process.binding('http_parser');

const hex = (b) => Buffer.from(b, 'latin1').toString('hex');

function fields(list) {
  const out = [];
  for (let i = 0; i < list.length; i += 2) out.push(hex(list[i].toLowerCase()) + '=' + hex(list[i + 1]));
  return out.join(',');
}

function run(role, method, data) {
  const server = role === 'server', out = [];
  const p = new HTTPParser();
  let body = null, pieces = [], url = '', switches = false, keeps = true, stop = false;
  p.initialize(server ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 16384);
  p[HTTPParser.kOnHeaders | 0] = (list, u) => { pieces.push(...list); url += u; };
  p[HTTPParser.kOnHeadersComplete | 0] = (major, minor, list, verb, target, status, reason, upgrade, keep) => {
    if (list === undefined) { list = pieces; target = url; } else list = pieces.concat(list);
    pieces = []; url = '';
    if (!server && status < 200 && status !== 101) { out.push('info:' + status); body = null; return 0; }
    out.push(server ? `head:${hex(HTTPParser.methods ? HTTPParser.methods[verb] : String(verb))}:${hex(target)}:${fields(list)}`
                    : `head:${status}:${fields(list)}`);
    body = ''; keeps = keep; switches = upgrade;
    if (!server && method === 'CONNECT' && status >= 200 && status < 300) { switches = true; return 2; }
    if (!server && method === 'HEAD') return 1;
    return 0;
  };
  p[HTTPParser.kOnBody | 0] = (b, from, n) => { body += (from === undefined ? b : b.slice(from, from + n)).toString('hex'); };
  p[HTTPParser.kOnMessageComplete | 0] = () => {
    pieces = [];
    if (body === null) return;
    out.push('body:' + body); body = null;
    if (switches) { out.push('switch'); stop = true; } else if (!server || !keeps) { out.push('over'); stop = true; }
  };
  const result = p.execute(data);
  if (!stop) {
    if (result instanceof Error) out.push('error:' + result.code + ':' + String(result.reason).replace(/ /g, '_'));
    else { if (body !== null) out.push('part:' + body); out.push('need'); }
  }
  return out.join(' ');
}

let text = '';
process.stdin.setEncoding('latin1');
process.stdin.on('data', (d) => { text += d; });
process.stdin.on('end', () => {
  const { methods } = process.binding('http_parser');
  HTTPParser.methods = methods;
  for (const line of text.split('\n')) {
    if (!line) continue;
    const [role, method, data] = line.split(' ');
    console.log(run(role, method, Buffer.from(data, 'hex')));
  }
});
