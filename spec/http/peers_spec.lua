-- peers_spec.lua - clients that others have made: curl, wrk, Node, aiohttp.
local t = require "helper"
local peers = require "peers"
local program = require "program"
local site = require "http.site"

local asyncio = t.asyncio

--- What a shell command prints, while the loop goes on.
local function shell(format, ...)
  local result = asyncio.run_process({ "sh", "-c", format:format(...) }, { stdout = "pipe", stderr = "stdout" })
  return result.stdout, result.returncode
end

local function handler(request)
  if request.path == "/echo" then
    return { body = request:read(), headers = { ["X-Length"] = tostring(request.content_length) } }
  elseif request.path == "/stream" then
    local body = request:respond(200, { ["Content-Type"] = "text/plain" })
    for i = 1, 5 do body:send("line ", i, "\n") end
    return
  elseif request.path == "/big" then
    return ("x"):rep(1000000)
  end
  return "hello\n"
end

TestCurl = {}

function TestCurl:test_gets_its_answers_over_one_connection()
  peers.need "curl"
  t.real(function()
    local server <close> = site.serve(handler)
    local url = "http://127.0.0.1:" .. site.port(server)
    t.assertEquals(shell("curl -s %s/ %s/stream %s/", url, url, url),
      "hello\nline 1\nline 2\nline 3\nline 4\nline 5\nhello\n")
    t.assertEquals(shell("curl -s -0 %s/stream", url), "line 1\nline 2\nline 3\nline 4\nline 5\n")
    t.assertStrContains(shell("curl -s -I %s/big", url), "Content-Length: 1000000")
    t.assertEquals(server:stats().accepted, 3)
  end)
end

function TestCurl:test_sends_bodies_with_a_length_by_chunks_and_asking_first()
  peers.need "curl"
  t.real(function()
    local server <close> = site.serve(handler)
    local url = "http://127.0.0.1:" .. site.port(server)
    local body = program.file_with(("0123456789"):rep(50000))
    for _, how in ipairs { "", "-H 'Transfer-Encoding: chunked'", "-H 'Expect: 100-continue'" } do
      t.assertEquals(shell("curl -s %s --data-binary @%s %s/echo | cmp - %s && echo same", how, body, url, body),
        "same\n")
    end
    t.assertEquals(shell("curl -s -o /dev/null -w '%%{http_code}' --data-binary @%s %s/", body, url), "200")
    os.remove(body)
  end)
end

TestNode = {}

local NODE = [[
const http = require('http'), agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
let left = 50
for (let i = 0; i < 50; i++) {
  const request = http.request({ port: PORT, host: '127.0.0.1', path: '/echo', method: 'POST', agent }, response => {
    let text = ''
    response.on('data', piece => { text += piece })
    response.on('end', () => {
      if (text !== 'body ' + i) throw new Error(text)
      if (--left === 0) { console.log('fine'); agent.destroy() }
    })
  })
  if (i % 2) request.write('body '), request.end(String(i))
  else request.end('body ' + i)
}]]

function TestNode:test_keeps_its_connections()
  peers.need "node"
  t.real(function()
    local server <close> = site.serve(handler)
    local script = program.file_with((NODE:gsub("PORT", site.port(server))))
    t.assertEquals(shell("node %s", script), "fine\n")
    os.remove(script)
    t.assertEquals(server:stats().accepted, 4)
  end)
end

TestAiohttp = {}

local PYTHON = [[
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        async def ask(i):
            async with session.post('http://127.0.0.1:PORT/echo', data=b'x' * i) as response:
                assert await response.read() == b'x' * i
                assert response.headers['X-Length'] == str(i)
        await asyncio.gather(*(ask(i) for i in range(1, 100)))
        async with session.get('http://127.0.0.1:PORT/stream') as response:
            assert (await response.text()).endswith('line 5\n')
    print('fine')
asyncio.run(main())]]

function TestAiohttp:test_reads_what_it_sent()
  if not os.execute "python3 -c 'import aiohttp' 2>/dev/null || /usr/bin/python3 -c 'import aiohttp' 2>/dev/null" then
    t.skip "aiohttp is not installed"
  end
  t.real(function()
    local server <close> = site.serve(handler)
    local script = program.file_with((PYTHON:gsub("PORT", site.port(server))))
    t.assertEquals(shell("/usr/bin/python3 %s || python3 %s", script, script), "fine\n")
    os.remove(script)
  end)
end

TestWrk = {}

function TestWrk:test_finds_no_error_under_load()
  peers.need "wrk"
  t.real(function()
    local server <close> = site.serve(handler)
    local script = program.file_with [[
      init = function()
        local requests = {}
        for i, path in ipairs { "/", "/stream", "/echo", "/big" } do requests[i] = wrk.format("GET", path) end
        all = table.concat(requests)
      end
      request = function() return all end]]
    local told = shell("wrk -t1 -c20 -d1s -s %s http://127.0.0.1:%d/", script, site.port(server))
    os.remove(script)
    t.assertStrContains(told, "requests in")
    t.assertNil(told:find "Socket errors" or told:find "Non%-2xx")
    t.wait_until(function() return server:stats().connections == 0 end)
    t.assertEquals(server:stats().failed, 0)
  end)
end

t.finish()
