// node.js MODE PORT: Node's net (echo, line, bulk), its tls (tls-echo, tls-bulk, with CERTFILE and KEYFILE), or an echo
// of datagrams (udp).
'use strict';
const dgram = require('dgram');
const fs = require('fs');
const net = require('net');
const tls = require('tls');

const [mode, port] = process.argv.slice(2);
const chunk = Buffer.alloc(65536, 'x');

function send(socket, data) {
  if (socket.write(data)) return;
  socket.pause();
  socket.once('drain', () => socket.resume());
}

const serve = {
  echo(socket) {
    socket.on('data', (data) => send(socket, data));
  },
  line(socket) {
    let rest = Buffer.alloc(0);
    socket.on('data', (data) => {
      if (rest.length) data = Buffer.concat([rest, data]);
      let from = 0;
      for (let end; (end = data.indexOf(10, from)) >= 0; from = end + 1) send(socket, data.subarray(from, end + 1));
      rest = data.subarray(from);
    });
  },
  bulk(socket) {
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

function serveStreams() {
  const serveOne = (socket) => {
    socket.on('error', () => {});
    serve[mode.replace('tls-', '')](socket);
  };
  const options = { noDelay: true };
  const server = mode.startsWith('tls-') ? tls.createServer({
    cert: fs.readFileSync(process.env.CERTFILE),
    key: fs.readFileSync(process.env.KEYFILE),
    ...options,
  }, serveOne) : net.createServer(options, serveOne);
  server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
}

(mode === 'udp' ? echoDatagrams : serveStreams)();
