// ws_node.js PORT - an echo over WebSockets, with npm's ws (Debian's node-ws).
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false });
server.on("connection", ws => ws.on("message", (data, binary) => ws.send(data, { binary })));
