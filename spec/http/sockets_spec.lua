-- slow: it drives a browser.
-- WebSockets with those that others have made: Python's websockets, Node's ws, a browser; and the examples.
local t = require "helper"
local browser = require "browser"
local program = require "program"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"

local PYTHON = "/usr/bin/python3" -- Debian's, whose modules are Debian's

local function needs(name, command)
  if not os.execute(command .. " >/dev/null 2>&1") then t.skip(name .. " is not installed") end
end

local function needs_python() needs("python3-websockets", PYTHON .. " -c 'import websockets'") end
local function needs_node() needs("node-ws", "NODE_PATH=/usr/share/nodejs node -e 'require(\"ws\")'") end

--- Runs a program while the loop goes on; what it prints.
local function run(source, ...)
  local path = program.file_with(source)
  local result = asyncio.run_process({ ... , path }, { stdout = "pipe", stderr = "stdout", check = false,
    env = { NODE_PATH = "/usr/share/nodejs", PATH = os.getenv "PATH" } })
  os.remove(path)
  return result.stdout
end

local function echo(request)
  local ws = request:websocket { protocols = { "echo" }, max_message = 1 << 21 }
  for data, kind in ws:iter() do
    if kind == "text" then ws:send(data) else ws:send_binary(data) end
  end
end

local CLIENT = [[
import asyncio, websockets
async def main():
    async with websockets.connect("ws://127.0.0.1:%d/", subprotocols=["x", "echo"], max_size=1 << 22) as ws:
        print(ws.subprotocol)
        for size in (0, 1, 125, 126, 65535, 65536, 1000000):
            for data in ("é" * (size // 2), b"\xff" * size):
                await ws.send(data)
                assert await ws.recv() == data
        async def pieces():
            for piece in ("frag", "", "mented"): yield piece
        await ws.send(pieces())
        print(await ws.recv())
        await (await ws.ping())
        await ws.close(3001, "enough")
        print(ws.close_code)
asyncio.run(main())
]]

TestPython = {}

function TestPython:test_as_a_client()
  needs_python()
  t.real(function()
    local server <close> = site.serve(echo)
    t.assertEquals(run(CLIENT:format(site.port(server)), PYTHON), "echo\nfragmented\n3001\n")
  end)
end

local SERVER = [[
import asyncio, sys, websockets
async def handler(ws):
    async for data in ws:
        if data == "bye":
            await ws.close(4000, "as you wish")
        elif data == "ping":
            await (await ws.ping())
            await ws.send("pong")
        else:
            await ws.send(data)
async def main():
    async with websockets.serve(handler, "127.0.0.1", 0, max_size=1 << 22) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
]]

--- Talks to an echo on that port that knows "ping" and "bye".
local function talk(_, port)
  local ws <close> = http.websocket(("ws://127.0.0.1:%d/"):format(port), { max_message = 1 << 22 })
  for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, 1000000 } do
    ws:send(("é"):rep(size // 2))
    t.assertEquals({ ws:receive() }, { ("é"):rep(size // 2), "text" })
    ws:send_binary(("\xFF"):rep(size))
    t.assertEquals({ ws:receive() }, { ("\xFF"):rep(size), "binary" })
  end
  ws:send "ping"
  t.assertEquals(ws:receive(), "pong")
  t.assertTrue(ws:ping() >= 0)
  ws:send "bye"
  t.assertNil(ws:receive())
  t.assertEquals({ ws.close_code, ws.close_reason }, { 4000, "as you wish" })
end

local function talk_with(source, name)
  local path = program.file_with(source)
  local _ <close> = setmetatable({}, { __close = function() os.remove(path) end })
  local server <close> = program.start("env NODE_PATH=/usr/share/nodejs %s %s", name, path)
  local port = server:expect "(%d+)\n"
  t.real(talk, port)
end

function TestPython:test_as_a_server()
  needs_python()
  talk_with(SERVER, PYTHON)
end

TestNode = {}

function TestNode:test_as_a_client()
  needs_node()
  t.real(function()
    local server <close> = site.serve(echo)
    t.assertEquals(run(([[
      const { WebSocket } = require("ws"), ws = new WebSocket("ws://127.0.0.1:%d/", ["echo"]);
      const sizes = [0, 126, 70000, 1000000];
      let at = 0;
      const next = () => at < sizes.length ? ws.send(Buffer.alloc(sizes[at], 255)) : ws.ping("p");
      ws.on("open", () => { console.log(ws.protocol, ws.extensions === ""); next(); });
      ws.on("message", (data, binary) => { console.log(data.length === sizes[at++], binary); next(); });
      ws.on("pong", data => { console.log(String(data)); ws.close(1000, "done"); });
      ws.on("close", code => console.log(code));
    ]]):format(site.port(server)), "node"), "echo true\n" .. ("true true\n"):rep(4) .. "p\n1000\n")
  end)
end

function TestNode:test_as_a_server()
  needs_node()
  talk_with([[
    const { WebSocketServer } = require("ws"), server = new WebSocketServer({ host: "127.0.0.1", port: 0 },
      () => console.log(server.address().port));
    server.on("connection", ws => {
      ws.on("message", (data, binary) => {
        if (String(data) === "bye") return ws.close(4000, "as you wish");
        if (String(data) === "ping") { ws.once("pong", () => ws.send("pong")); return ws.ping(); }
        ws.send(data, { binary });
      });
    });
  ]], "node")
end

TestExamples = {}

function TestExamples:test_a_chat_has_a_page()
  if not browser.program() then t.skip "no chromium is installed" end
  local server <close> = program.start("%s %swebsocket/chat.lua 0", program.lua, program.examples)
  local url = server:expect "(http://127%.0%.0%.1:%d+/)"
  browser.drive(function(tab)
    tab:call("Page.navigate", { url = url })
    local ws <close> = http.websocket(url:gsub("^http", "ws") .. "chat")
    local heard = {}
    tab:ask [[new Promise(done => {
      const look = () => document.getElementById("state")?.textContent === "connected" ? done(1) : setTimeout(look, 10);
      look();
    })]]
    repeat heard[#heard + 1] = ws:receive() until #heard == 2 or heard[1]:find "guest 2"
    tab:ask [[document.getElementById("line").value = "hello <b>", document.forms[0].requestSubmit()]]
    repeat local line = ws:receive() until line:find ": hello <b>$"
    ws:send "good day"
    t.assertTrue(tab:ask [[new Promise(done => {
      const look = () => document.getElementById("lines").textContent.includes(": good day")
        ? done(true) : setTimeout(look, 10);
      look();
    })]])
    t.assertTrue(tab:ask [[document.documentElement.scrollWidth <= innerWidth]])
  end)
  browser.close()
  server:interrupt()
end

function TestExamples:test_prices_reach_the_quick_and_the_slow()
  local output, status = program.shell("%s %swebsocket/ticker.lua", program.lua, program.examples)
  t.assertEquals(status, 0)
  t.assertStrContains(output, "the quick one has read 300 prices")
  t.assertStrContains(output, "the slow one has read 300 prices")
end

t.finish()
