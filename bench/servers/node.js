// node.js MODE PORT: Node's tls (tls-echo, tls-bulk, with CERTFILE and KEYFILE), or an echo of datagrams (udp).
'use strict';
const dgram = require('dgram');
const fs = require('fs');
const tls = require('tls');

const [mode, port] = process.argv.slice(2);
const chunk = Buffer.alloc(65536, 'x');

const serve = {
  'tls-echo'(socket) {
    socket.on('data', (data) => {
      if (!socket.write(data)) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
  },
  'tls-bulk'(socket) {
    let left = 2 ** 30 / chunk.length;
    const send = () => {
      while (left-- > 0) if (!socket.write(chunk)) return socket.once('drain', send);
      socket.end();
    };
    send();
  },
};

function echoDatagrams() {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind(Number(port), '127.0.0.1');
}

function serveTls() {
  const server = tls.createServer({
    cert: fs.readFileSync(process.env.CERTFILE),
    key: fs.readFileSync(process.env.KEYFILE),
    noDelay: true,
  }, (socket) => {
    socket.on('error', () => {});
    serve[mode](socket);
  });
  server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
}

(mode === 'udp' ? echoDatagrams : serveTls)();
