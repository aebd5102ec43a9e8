-- slow
-- client_peers_spec.lua - other people's servers: nginx, Python's http.server, aiohttp, Node.
local t = require "helper"

if os.getenv "SPEC_TOOL" or os.getenv "SPEC_LUA" or os.getenv "SPEC_GC" then
  package.preload.zlib = function() error "Debian's lua-zlib breaks the rules that a Lua with assertions checks" end
end
local nginx = require "nginx"
local peers = require "peers"
local program = require "program"

local asyncio = t.asyncio
local http = asyncio.http

local function state(client) return tostring(client):match "^asyncio%.Client: (.*)$" end

local function write(name, text)
  local file <close> = assert(io.open(name, "wb"))
  file:write(text)
end

TestNginx = {}

local FILES = [[
  listen 127.0.0.1:PORT reuseport; root FOLDER; keepalive_requests 5;
  gzip on; gzip_types text/plain; gzip_min_length 1000;
  location /hello { default_type text/plain; return 200 "hello $request_method $http_user_agent"; }
  location /moved { return 301 /hello; }
  location /none { return 204; }
  location /secret { auth_basic "tea"; auth_basic_user_file FOLDER/users; }
  location /drop { return 444; }
  client_max_body_size 1m;
]]

local function with_nginx(fn)
  t.real(function()
    nginx.serve(FILES, function(port, folder)
      local client <close> = http.Client { base_url = ("http://127.0.0.1:%d/"):format(port) }
      fn(client, folder)
    end)
  end)
end

function TestNginx:test_is_asked_over_and_over_also_when_it_ends_connections()
  with_nginx(function(client)
    for i = 1, 23 do
      t.assertEquals(client:get("/hello", { query = { i = i } }):read(), "hello GET lua-asyncio")
    end
    t.assertEquals(client:head("/hello").status, 200)
    t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
  end)
end

function TestNginx:test_large_files_come_whole_many_at_a_time()
  with_nginx(function(client, folder)
    local text = peers.text(3000000)
    write(folder .. "/large.bin", text)
    local function fetch() return client:get("/large.bin"):read() == text end
    t.assertEquals({ asyncio.gather(fetch, fetch, fetch, fetch) }, { true, true, true, true })
    local part = client:get("/large.bin", { headers = { Range = "bytes=1000-1999", ["Accept-Encoding"] = "identity" } })
    t.assertEquals(part.status, 206)
    t.assertTrue(part:read() == text:sub(1001, 2000))
    local unread = client:get "/large.bin"
    t.assertEquals(unread:read(5), text:sub(1, 5))
    unread:close()
  end)
end

function TestNginx:test_what_it_packs_is_unpacked()
  with_nginx(function(client, folder)
    local text = ("a line of tea\n"):rep(20000)
    write(folder .. "/tea.txt", text)
    local answer, n = client:get "/tea.txt", 0
    local packed = answer.headers["content-encoding"] == "gzip"
    t.assertEquals(packed, package.searchpath("zlib", package.cpath) ~= nil)
    for line in answer:lines() do
      assert(line == "a line of tea")
      n = n + 1
    end
    t.assertEquals(n, 20000)
  end)
end

function TestNginx:test_redirects_and_other_statuses()
  with_nginx(function(client)
    local moved = client:get "/moved"
    t.assertEquals({ moved:read(), moved.history[1].status }, { "hello GET lua-asyncio", 301 })
    t.assertEquals({ client:get("/none"):read(), client:get("/nothing").status }, { "", 404 })
    t.assertEquals(client:post("/hello", { body = ("x"):rep(2 << 20) }).status, 413)
    t.assert_raises(http.ProtocolError, client.get, client, "/drop")
    t.assertEquals(client:get("/none").status, 204)
  end)
end

function TestNginx:test_passwords()
  with_nginx(function(client, folder)
    write(folder .. "/users", "lua:{PLAIN}secret\n")
    write(folder .. "/secret", "the secret")
    t.assertEquals(client:get("/secret").status, 401)
    t.assertEquals(client:get("/secret", { auth = { "lua", "secret" } }):read(), "the secret")
  end)
end

t.leave_out(TestNginx, ".", "test_what_it_packs_is_unpacked")

-- Programs that echo ----------------------------------------------------------------------------------

local PYTHON = [[
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while True:
            size = int(self.rfile.readline(), 16)
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            if size == 0: return b"".join(parts)
    def do_POST(self):
        body = self.body()
        self.send_response(200)
        self.send_header("X-Length", str(len(body)))
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(0, len(body), 10000):
                piece = body[i:i+10000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_address[1], flush=True)
server.serve_forever()
]]

local AIOHTTP = [[
import asyncio, aiohttp.web as web
async def echo(request):
    body = await request.read()
    if request.path == "/chunked":
        answer = web.StreamResponse(headers={"X-Length": str(len(body))})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for i in range(0, len(body), 10000): await answer.write(body[i:i+10000])
        await answer.write_eof()
        return answer
    return web.Response(body=body, headers={"X-Length": str(len(body))})
async def main():
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/{any:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("port", site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
]]

local NODE = [[
const server = require("http").createServer((request, answer) => {
  const parts = []
  request.on("data", (part) => parts.push(part))
  request.on("end", () => {
    const body = Buffer.concat(parts)
    answer.setHeader("X-Length", body.length)
    if (request.url != "/chunked") return answer.end(body)
    for (let i = 0; i < body.length; i += 10000) answer.write(body.subarray(i, i + 10000))
    answer.end()
  })
})
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port))
]]

local function python() return peers.has "/usr/bin/python3" and "/usr/bin/python3" or "python3" end

local ECHOES = {
  python = function() return python(), PYTHON end,
  aiohttp = function()
    if not os.execute(python() .. " -c 'import aiohttp' 2>/dev/null") then t.skip "aiohttp is not installed" end
    return python(), AIOHTTP
  end,
  node = function()
    peers.need "node"
    return "node", NODE
  end,
}

--- Calls fn(client) while that program runs.
local function with_echo(which, fn)
  local command, source = ECHOES[which]()
  t.real(function()
    local file <close> = peers.file(source)
    local server <close> = program.start("%s %s", command, file.name)
    local port = server:expect "port (%d+)\n"
    do
      local client <close> = http.Client { base_url = ("http://127.0.0.1:%s/"):format(port) }
      fn(client)
    end
    server:interrupt()
  end)
end

TestEcho = {}

local function function_of(text, n)
  local at = 1
  return function()
    if at > #text then return nil end
    local piece = text:sub(at, at + n - 1)
    at = at + n
    return piece
  end
end

for which in pairs(ECHOES) do
  TestEcho["test_" .. which .. "_takes_and_gives_bodies_of_each_kind"] = function()
    with_echo(which, function(client)
      for _, size in ipairs { 0, 1, 9999, 300000 } do
        local text = peers.text(size)
        for _, path in ipairs { "/plain", "/chunked" } do
          for _, body in ipairs { text, function_of(text, 7001), { text, "" } } do
            local answer = client:post(path, { body = body })
            t.assertEquals(answer.headers["X-Length"], tostring(size))
            t.assertTrue(answer:read() == text)
          end
        end
      end
      t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
    end)
  end

  TestEcho["test_" .. which .. "_has_many_clients"] = function()
    with_echo(which, function(client)
      local list = {}
      for i = 1, t.count(200) do list[i] = ("%d,"):format(i):rep(i) end
      local answers = asyncio.map(function(text) return client:post("/x", { body = text }):read() end, list)
      for i, text in ipairs(list) do t.assertEquals(answers[i], text) end
    end)
  end
end

t.finish()
