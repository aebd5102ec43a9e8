--- Statements about servers and connections, over TCP and unix sockets.
local asyncio = require "asyncio"

local SIZES = { 1, 10, 3000, 70000, 400000 }
local made = 0 -- names of unix sockets: one for each in this process

local function bytes(n) return ("line\n"):rep(SIZES[n % #SIZES + 1] // 5 + 1) end

--- What a server does with a connection.
local function handler(env, s)
  return function(reader, writer)
    local _ <close> = env:witness "a handler"
    env:add("reader", reader)
    env:add("writer", writer)
    env:block(s[1])
    if s.c % 3 == 0 then asyncio.sleep(1) end -- until the end of all
  end
end

--- Every server has its clients' door: how to reach it.
local function serve(env, server, connect)
  env:add("server", server)
  env.doors[server] = connect
  return server
end

local function options(s)
  return { close_timeout = 0.02, start_serving = s.c % 8 > 0, limit = s.b % 3 == 0 and 16 or nil }
end

local function serve_tcp(env, s)
  local server = asyncio.start_server(handler(env, s), "127.0.0.1", 0, options(s))
  local port = server:sockets()[1].port
  return serve(env, server, function(opts) return asyncio.open_connection("127.0.0.1", port, opts) end)
end

local function serve_unix(env, s)
  made = made + 1
  local path = ("\0asyncio-random-%s-%d"):format(tostring(env):match "0x%x+", made)
  return serve(env, asyncio.start_unix_server(handler(env, s), path, options(s)), function(opts)
    return asyncio.open_unix_connection(path, opts)
  end)
end

local function simple(kind, method, weight)
  return { kind .. ":" .. method, weight, on = kind, quick = true, run = function(_, _, object)
    return object[method](object)
  end }
end

--- A method that may wait; arguments(s) makes what it takes.
local function waits(kind, method, weight, arguments)
  return { kind .. ":" .. method, weight, on = kind, run = function(env, s, object)
    if arguments then return env:briefly(s.c, object[method], object, arguments(s)) end
    return env:briefly(s.c, object[method], object)
  end }
end

return {
  { "start_server", 6, bodies = { "task" }, run = function(env, s) serve_tcp(env, s) end },
  { "start_unix_server", 3, bodies = { "task" }, run = function(env, s) serve_unix(env, s) end },
  { "a server for a block", 3, bodies = { "task", "task" }, run = function(env, s)
    local _ <close> = (s.a % 2 == 0 and serve_tcp or serve_unix)(env, s)
    env:block(s[2])
  end },
  { "connect", 10, on = "server", run = function(env, s, server)
    local door = env.doors[server]
    if not door then return end
    local reader, writer = asyncio.wait_for(function()
      return door { limit = s.b % 4 == 0 and 10 or nil }
    end, 0.01)
    env:add("reader", reader)
    env:add("writer", writer)
  end },
  { "connect for a block", 6, on = "server", bodies = { "task" }, run = function(env, s, server)
    local door = env.doors[server]
    if not door then return end
    local reader, writer = asyncio.wait_for(door, 0.01)
    local _ <close> = env:add("writer", writer)
    env:add("reader", reader)
    env:block(s[1])
  end },
  { "connect in vain", 1, run = function() return asyncio.open_connection("127.0.0.1", 1) end },
  simple("server", "close", 2), simple("server", "close_clients", 1), simple("server", "abort_clients", 2),
  simple("server", "start_serving", 1), simple("server", "is_serving", 1),
  { "server:sockets", 1, on = "server", quick = true, run = function(_, _, server) return #server:sockets() end },
  waits("server", "wait_closed", 1), waits("server", "serve_forever", 2),

  waits("reader", "read", 4, function(s) return ({ 1, 100, 100000, -1 })[s.b % 4 + 1] end),
  waits("reader", "readline", 3), waits("reader", "readexactly", 2, function(s) return SIZES[s.b % 3 + 1] end),
  waits("reader", "readuntil", 2, function(s) return ({ "\n", "ne\nl", { "e", "\n" } })[s.b % 3 + 1] end),
  simple("reader", "at_eof", 1),
  { "reader:lines", 2, on = "reader", bodies = { "task" }, run = function(env, s, reader)
    return env:briefly(1, function()
      local n = 0
      for _ in env:add("iterator", reader:lines()) do
        n = n + 1
        env:block(s[1])
        if n > s.b % 10 then break end
      end
    end)
  end },

  { "writer:write", 6, on = "writer", quick = true, run = function(_, s, writer) return writer:write(bytes(s.b)) end },
  { "writer:writelines", 1, on = "writer", quick = true, run = function(_, s, writer)
    return writer:writelines { "one\n", bytes(s.b), "two\n" }
  end },
  waits("writer", "send", 3, function(s) return bytes(s.b) end), waits("writer", "drain", 3),
  waits("writer", "wait_closed", 2),
  simple("writer", "write_eof", 2), simple("writer", "close", 3), simple("writer", "abort", 2),
  simple("writer", "pending", 1), simple("writer", "is_closing", 1), simple("writer", "can_write_eof", 1),
  { "copy", 3, on = "reader", run = function(env, s, reader)
    return env:briefly(s.c, function()
      return asyncio.copy(reader, env:pick("writer", s.b), { max_bytes = s.b % 3 > 0 and s.b % 1000 or nil })
    end)
  end },
  { "open_fd", 2, run = function(env, s)
    local file <close> = s.b % 2 == 0 and io.tmpfile() or io.open("/dev/null", "w")
    local reader, writer = asyncio.open_fd(file)
    env:add("reader", reader)
    env:add("writer", writer)
  end },
  { "writer:set_write_buffer_limits", 1, on = "writer", quick = true, run = function(_, s, writer)
    return writer:set_write_buffer_limits { high = s.b, low = s.b // 2 }
  end },
  { "writer:get_extra_info", 1, on = "writer", quick = true, run = function(_, s, writer)
    return writer:get_extra_info(({ "peername", "sockname", "socket" })[s.b % 3 + 1]) and true
  end },
  { "tostring(stream)", 1, on = "reader", quick = true, run = function(env, s, reader)
    return #tostring(reader) + #tostring(env:pick("writer", s.b)) > 0
  end },
  { "getaddrinfo", 1, run = function(env, s)
    local loop = asyncio.get_running_loop()
    return env:briefly(s.c, function()
      local list = loop:getaddrinfo(s.b % 2 == 0 and "127.0.0.1" or "::1", 80)
      return #list, loop:getnameinfo(list[1], { numeric = true })
    end)
  end },
}
