-- place_spec.lua - where contexts are used: the environment of the process, its threads, one loop after another, a
-- process that was forked.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

TestEnvironment = {}

--- Shakes hands with a default context; the code of the certificate's refusal, or "trusted".
local MEET = ([[
  local asyncio, ssl = require "asyncio", require "asyncio.ssl"
  asyncio.run(function()
    local _, near, _, far = asyncio.stream_pair()
    asyncio.create_task(pcall, far.start_tls, far, ssl.create_server_context { certfile = %q, keyfile = %q },
      { server_side = true })
    local ok, err = pcall(near.start_tls, near, ssl.create_default_context(), { server_hostname = "localhost" })
    print(ok and "trusted" or err.verify_code)
    near:abort()
    far:abort()
  end)
]]):format(certificates.server.certfile, certificates.server.keyfile)

local function meet(environment) return (peers.run_in_shell(MEET, environment .. " %s 2>/dev/null")) end

function TestEnvironment:test_names_the_authorities_of_default_contexts()
  t.assertEquals(meet("SSL_CERT_DIR=/nowhere SSL_CERT_FILE=" .. certificates.file "root.pem"), "trusted\n")
  t.assertEquals(meet("SSL_CERT_DIR=/nowhere SSL_CERT_FILE=" .. certificates.file "stranger.pem"), "20\n")
  t.assertEquals(meet "SSL_CERT_DIR=/nowhere SSL_CERT_FILE=/nowhere", "20\n")
end

function TestEnvironment:test_may_name_a_folder()
  peers.need "openssl"
  local folder = os.tmpname()
  os.remove(folder)
  t.assertTrue(os.execute(("mkdir '%s' && cp '%s' '%s' && openssl rehash '%s' 2>/dev/null"):format(folder,
    certificates.file "root.pem", folder, folder)))
  t.assertEquals(meet(("SSL_CERT_FILE=/nowhere SSL_CERT_DIR=%s"):format(folder)), "trusted\n")
  os.execute(("rm -r '%s'"):format(folder))
end

TestThreads = {}

function TestThreads:test_are_given_no_context_of_anothers()
  local context = secure.client_context()
  local words = "cannot send an asyncio.SSLContext"
  t.real(function()
    t.assertErrorMsgContains(words, asyncio.to_thread, function(given) return given end, context)
    t.assertErrorMsgContains(words, asyncio.to_thread, function() return context end)
    local channel = asyncio.Channel()
    t.assertErrorMsgContains(words, channel.put, channel, { deep = { context } })
    t.assertErrorMsgContains(words, asyncio.to_thread, function()
      return require "asyncio.ssl".create_default_context()
    end)
  end)
end

--- Runs in a worker: connects so many times; what it has read.
local function visit(port, root, times)
  local its = require "asyncio"
  local context = its.ssl.create_default_context { cafile = root }
  local lines = {}
  its.run(function()
    for i = 1, times do
      local reader, _ <close> = its.open_connection("127.0.0.1", port, { ssl = context, server_hostname = "localhost" })
      lines[i] = reader:readline()
    end
  end)
  return table.concat(lines)
end

function TestThreads:test_have_contexts_of_their_own_at_the_same_time()
  t.real(function()
    local server <close> = secure.serve(function(_, writer) writer:send "hello\n" end)
    local tasks, times = {}, t.count(20)
    for i = 1, 4 do
      tasks[i] = asyncio.create_task(asyncio.to_thread, visit, peers.port(server), certificates.file "root.pem", times)
    end
    for _, task in ipairs(tasks) do t.assertEquals(asyncio.await(task), ("hello\n"):rep(times)) end
  end)
end

TestLoops = {}

function TestLoops:test_one_after_another_may_have_the_same_contexts()
  local client, server_context = secure.client_context(), secure.server_context()
  for _ = 1, 3 do
    for _, run in ipairs { t.run, t.real } do
      run(function() secure.memory(function(_, writer, peer_reader)
        writer:send "hello\n"
        t.assertEquals(peer_reader:readline(), "hello\n")
      end, { near = client, far = server_context }) end)
    end
    t.real(function()
      secure.pair(function(reader, _, _, peer_writer)
        peer_writer:send "hello\n"
        t.assertEquals(reader:readline(), "hello\n")
      end, { near = { ssl = client }, far = { ssl = server_context } })
    end)
  end
end

TestFork = {}

local FORK = [[
#include <lua.h>
#include <sys/wait.h>
#include <unistd.h>

static int do_fork(lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

static int do_wait(lua_State *L) {
  int status = -1;
  waitpid((pid_t)lua_tointeger(L, 1), &status, 0);
  lua_pushinteger(L, status);
  return 1;
}

int luaopen_fork(lua_State *L);

int luaopen_fork(lua_State *L) {
  lua_pushcfunction(L, do_fork);
  lua_pushcfunction(L, do_wait);
  return 2;
}
]]

--- Both processes go on with contexts that have been used: their sessions, tickets and random numbers.
function TestFork:test_leaves_contexts_in_order_on_both_sides()
  local source <close> = peers.file(FORK)
  local library <close> = peers.file()
  if not os.execute(("%s -shared -fPIC -o '%s' -x c '%s' %s >/dev/null 2>&1"):format(os.getenv "CC" or "cc",
    library.name, source.name, t.cflags)) then
    t.skip "no compiler"
  end
  local output, errors, status = peers.run_in_shell(([[
    local fork, wait = assert(package.loadlib(%q, "luaopen_fork"))()
    local asyncio, ssl = require "asyncio", require "asyncio.ssl"
    local context = ssl.create_default_context { cafile = %q }
    local server_context = ssl.create_server_context { certfile = %q, keyfile = %q }
    local function try()
      return asyncio.run(function()
        local server <close> = asyncio.start_server(function(_, writer) writer:send "hello\n" end, "127.0.0.1", 0,
          { ssl = server_context })
        for _ = 1, 3 do
          local reader, _ <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port,
            { ssl = context, server_hostname = "localhost" })
          assert(reader:readline() == "hello\n")
        end
        return "good"
      end)
    end
    try()
    local pid = fork()
    if pid == 0 then os.exit(try() == "good" and 0 or 1) end
    print(try(), wait(pid))
    collectgarbage()
  ]]):format(library.name, certificates.file "root.pem", certificates.server.certfile, certificates.server.keyfile))
  t.assertEquals({ output, errors, status }, { "good\t0\n", "", 0 })
end

t.finish { sampled = true }
