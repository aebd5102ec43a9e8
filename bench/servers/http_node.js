// http_node.js PORT FOLDER - an HTTP server, with Node's http.
const http = require('http'), fs = require('fs'), path = require('path')
const TEXT = '{"id": 12345, "name": "lua-asyncio", "tags": ["a", "b", "c"], "text": "a hundred bytes of JSON", "n": 12}'

http.createServer((request, response) => {
  if (request.url === '/') {
    response.setHeader('Content-Type', 'text/plain; charset=utf-8')
    response.end('hello world\n')
  } else if (request.url === '/json') {
    response.setHeader('Content-Type', 'application/json')
    response.end(TEXT)
  } else if (request.url === '/post') {
    let n = 0
    request.on('data', piece => { n += piece.length })
    request.on('end', () => response.end(String(n)))
  } else {
    const name = path.join(process.argv[3], request.url)
    fs.stat(name, (error, stat) => {
      response.setHeader('Content-Length', stat.size)
      fs.createReadStream(name).pipe(response)
    })
  }
}).listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })
