-- slow
-- harm_spec.lua - what a line can do to an encrypted connection: it ends, or is reset, after any byte; changes one,
-- adds some, holds all up. What is read is what was sent, or the first part of it and an error.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

local TEXT = peers.text(2000)

--- Carries bytes from one stream to another; `harm(bytes, at)` gives what becomes of those that begin at that place,
-- and "end" or "reset" where the line breaks then.
local function carry(from, to, harm)
  local at = 0
  for data in from:blocks(65536) do
    local instead, ending = data, nil
    if harm then instead, ending = harm(data, at) end
    at = at + #data
    to:send(instead)
    if ending == "reset" then to:abort() end
    if ending then break end
  end
  if not to:is_closing() then to:write_eof() end
  for _ in from:blocks(65536) do end
end

--- Whoever is closed takes no more.
local function carry_all(...)
  local ok, err = pcall(carry, ...)
  if not ok and not asyncio.isinstance(err, asyncio.Error) then error(err, 0) end
end

--- A handshake, then one side sends TEXT and closes; harm is done to what comes from it. Whether the other could
-- read to a good end; what it has read, or the error; how many bytes came from the sender.
local function suffer(version, sender_side, harm)
  local only = { minimum_version = version, maximum_version = version }
  local good, result, total
  t.run(function()
    local near_reader, near <close>, line_reader1, line_writer1 = asyncio.stream_pair()
    local line_reader2, line_writer2, far_reader, far <close> = asyncio.stream_pair()
    local group <close> = asyncio.TaskGroup()
    local function count(bytes, at)
      total = at + #bytes
      if harm then return harm(bytes, at) end
      return bytes
    end
    local sends_far = sender_side == "server"
    group:create_task(carry_all, line_reader1, line_writer2, not sends_far and count)
    group:create_task(carry_all, line_reader2, line_writer1, sends_far and count)
    local function shake(side)
      if side == "client" then
        near:start_tls(secure.client_context(only), { server_hostname = "localhost" })
      else
        far:start_tls(secure.server_context(only, "rsa"), { server_side = true }) -- its signatures are equally long
      end
    end
    local writer, victim_reader, victim = near, far_reader, far
    if sends_far then writer, victim_reader, victim = far, near_reader, near end
    local sending = group:create_task(pcall, function()
      shake(sender_side)
      writer:send(TEXT)
      writer:close()
    end)
    good, result = pcall(function()
      shake(sends_far and "client" or "server")
      return victim_reader:read(-1)
    end)
    victim:abort()
    asyncio.await(sending)
    for _, each in ipairs { writer, line_writer1, line_writer2 } do each:abort() end
  end)
  return good, result, total
end

--- Nothing was read that wasn't sent; and where all was read that was no error.
local function check(where, good, result)
  local got = result
  if not good then
    t.assert_isinstance(result, asyncio.Error)
    got = result.partial or ""
  end
  local right = got == TEXT:sub(1, #got) and (not good or #got == #TEXT)
  if not right then t.fail(("%s: %d bytes were read"):format(where, #got)) end
end

--- Calls fn(at, total) for places in what the sender says, more of them near its end.
local function each_place(version, side, fn)
  local good, result, total = suffer(version, side)
  t.assertEquals({ good, result == TEXT }, { true, true }, tostring(result))
  local step = secure.watched and 501 or 47
  for at = (version == "TLSv1.2" and 1 or 7), total - 1, step do fn(at, total) end
  for at = total - (secure.watched and 2 or 25), total - 1 do fn(at, total) end
end

--- The line ends after that many bytes.
local function ends_at(place, how)
  return function(bytes, at)
    if at + #bytes < place then return bytes end
    return bytes:sub(1, place - at), how
  end
end

TestLine = {}

for _, version in ipairs(secure.VERSIONS) do
  for _, side in ipairs { "client", "server" } do
    local function test(what, fn)
      local name = ("test_that_%s_of_a_%s_with_%s"):format(what, side, version)
      TestLine[name] = function() each_place(version, side, fn) end
    end

    test("ends_anywhere_is_a_truncation", function(place)
      local good, result = suffer(version, side, ends_at(place, "end"))
      t.assertFalse(good, place)
      t.assert_isinstance(result, asyncio.SSLEOFError)
      check(place, good, result)
    end)

    test("is_reset_anywhere_says_so", function(place)
      local good, result = suffer(version, side, ends_at(place, "reset"))
      t.assertFalse(good, place)
      t.assert_isinstance(result, asyncio.ConnectionResetError)
      check(place, good, result)
    end)

    test("changes_a_byte_anywhere_deceives_nobody", function(place)
      check(place, suffer(version, side, function(bytes, at)
        local i = place - at
        if i < 1 or i > #bytes then return bytes end
        return bytes:sub(1, i - 1) .. string.char(bytes:byte(i) ~ 1 << place % 8) .. bytes:sub(i + 1)
      end))
    end)

    test("adds_bytes_anywhere_deceives_nobody", function(place)
      check(place, suffer(version, side, function(bytes, at)
        local i = place - at
        if i < 1 or i > #bytes then return bytes end
        return bytes:sub(1, i) .. "\x17\x03\x03\x00\x05hello" .. bytes:sub(i + 1)
      end))
    end)

    TestLine[("test_that_adds_bytes_after_the_end_of_a_%s_with_%s_changes_nothing"):format(side, version)] = function()
      local _, _, total = suffer(version, side)
      for _, more in ipairs { "x", "GET / HTTP/1.1\r\n\r\n", "\x17\x03\x03\x00\x05hello", ("\0"):rep(100000) } do
        local good, result = suffer(version, side, function(bytes, at)
          return at + #bytes >= total and bytes .. more or bytes
        end)
        t.assertEquals({ good, result == TEXT }, { true, true }, tostring(result))
      end
    end
  end
end

TestTickets = {}

--- A client that sends, and takes nothing once it has what it needs for that: the server's tickets never leave it.
function TestTickets:test_that_nobody_takes_hold_up_no_server()
  for _, version in ipairs(secure.VERSIONS) do
    local only = { minimum_version = version, maximum_version = version }
    t.run(function()
      local _, near <close>, line_reader1, line_writer1 = asyncio.stream_pair()
      local line_reader2, line_writer2, far_reader, far = asyncio.stream_pair { limit = 10 }
      local group <close> = asyncio.TaskGroup()
      group:create_task(carry_all, line_reader1, line_writer2)
      local answers = group:create_task(function()
        while true do
          local bytes = line_reader2:read(10)
          if not bytes then return end
          line_writer1:send(bytes)
          asyncio.sleep(0)
        end
      end)
      group:create_task(function()
        near:start_tls(secure.client_context(only), { server_hostname = "localhost" })
        answers:cancel()
        near:send(TEXT)
        near:close()
      end)
      far:start_tls(secure.server_context(only), { server_side = true })
      t.assertTrue(far_reader:read(-1) == TEXT)
      local began = asyncio.time()
      do local _ <close> = far end
      t.assertTrue(asyncio.time() - began <= 31, asyncio.time() - began)
      line_writer1:abort()
      line_writer2:abort()
    end)
  end
end

t.finish { sampled = true }
