-- standard_spec.lua - asyncio.stdin, stdout and stderr, whatever they are: in processes of their own.
local t = require "helper"
local peers = require "peers"

local HEAD = [[
local asyncio = require "asyncio"
local function flags(fd) -- of the description, which others share
  local file = io.open("/proc/self/fdinfo/" .. fd)
  if not file then return "unknown" end
  local all = file:read "a"
  file:close()
  return all:match "flags:%s*(%d+)"
end
]]

--- Runs the body as a program's main task; `shell` is the command line around %s.
-- Returns what that printed, its errors and its exit status.
local function run(body, shell)
  return peers.run_in_shell(HEAD .. "asyncio.run(function()\n" .. body .. "\nend)\n", shell)
end

local function assert_prints(expected, body, shell)
  local output, errors, code = run(body, shell)
  t.assertEquals(errors, "")
  t.assertTrue(output == expected, ("%q expected, got %q"):format(expected:sub(1, 200), output:sub(1, 200)))
  t.assertEquals(code, 0)
end

local LINES = [[
  local reader = asyncio.stdin()
  for line in reader:lines() do print(line:upper()) end
  print(reader:readline(), reader:read(1), reader:at_eof())
]]

TestStdin = {}

function TestStdin:test_reads_a_pipe()
  assert_prints("ONE\nTWO\nnil\tnil\ttrue\n", LINES, "printf 'one\\ntwo' | %s")
end

function TestStdin:test_reads_a_file()
  local file <close> = peers.file "one\ntwo"
  assert_prints("ONE\nTWO\nnil\tnil\ttrue\n", LINES, "%s <" .. file.name)
end

function TestStdin:test_of_dev_null_is_at_the_end()
  assert_prints("nil\tnil\ttrue\n", LINES, "%s </dev/null")
end

function TestStdin:test_reads_all_of_a_large_file_and_of_a_large_pipe()
  local text = peers.text(t.count(5) * 1000000)
  local file <close> = peers.file(text)
  local body = ([[
    local all, file = asyncio.stdin():read(-1), io.open "%s"
    print(#all, all == file:read "a")
  ]]):format(file.name)
  assert_prints(#text .. "\ttrue\n", body, "%s <" .. file.name)
  assert_prints(#text .. "\ttrue\n", body, "cat " .. file.name .. " | %s")
end

function TestStdin:test_takes_a_limit()
  assert_prints("false\ttrue\ttoo long\n", [[
    local reader = asyncio.stdin { limit = 4 }
    local ok, err = pcall(reader.readline, reader)
    print(ok, asyncio.isinstance(err, asyncio.LimitOverrunError), reader:readexactly(8))
  ]], "echo 'too long' | %s")
end

function TestStdin:test_waits_while_other_tasks_go_on()
  peers.with_signal(function(name, wait)
    assert_prints("late\ttrue\n", ([[
      local turns = 0
      local ticker = asyncio.create_task(function()
        while true do
          asyncio.sleep(0.01)
          turns = turns + 1
          if turns == 3 then io.open("%s", "w"):close() end
        end
      end)
      local line = asyncio.stdin():readline()
      ticker:cancel()
      print(line:sub(1, -2), turns >= 3)
    ]]):format(name), "(" .. wait .. "; echo late) | %s")
  end)
end

function TestStdin:test_that_says_nothing_does_not_keep_the_program()
  local name = os.tmpname()
  os.remove(name)
  assert_prints("over\n", [[
    local task = asyncio.create_task(function() asyncio.stdin():read(1) end)
    asyncio.sleep(0.05)
    assert(not task:done())
    print "over"
  ]], ("mkfifo %s; exec 3<>%s; %%s 3>&- <%s"):format(name, name, name))
  os.remove(name)
end

function TestStdin:test_without_end_can_be_left()
  assert_prints("1000000\n", [[
    print(#asyncio.stdin():readexactly(1000000))
  ]], "%s </dev/zero")
end

function TestStdin:test_leaves_the_flags_of_the_description_as_they_are()
  local file <close> = peers.file "from a file\n"
  local body = [[
    local before = flags(0)
    local reader = asyncio.stdin()
    local line = reader:readline()
    print(line:sub(1, 4), flags(0) == before)
  ]]
  assert_prints("from\ttrue\n", body, "%s <" .. file.name)
  assert_prints("from\ttrue\n", body, "echo from a pipe | %s")
end

function TestStdin:test_leaves_the_flags_to_a_program_that_shares_it()
  -- the next program of the shell script reads the same pipe: it would get EAGAIN
  peers.with_signal(function(name, wait)
    assert_prints("one\nrest\n", [[
      print((asyncio.stdin():readline():sub(1, -2)))
    ]], ("(echo one; %s; echo rest) | (%%s; touch %s; cat)"):format(wait, name))
  end)
end

TestStdout = {}

function TestStdout:test_writes_to_a_pipe()
  assert_prints("hello\nworld\n", [[
    local writer = asyncio.stdout()
    writer:write("hello\n", "world\n")
    writer:close()
    writer:wait_closed()
  ]], "%s | cat")
end

function TestStdout:test_writes_to_a_file()
  local file <close> = peers.file "before\n"
  assert_prints("", [[
    local writer <close> = asyncio.stdout()
    writer:send "hello\n"
    asyncio.sleep(0.01)
    writer:send "world\n"
  ]], "%s >>" .. file.name)
  t.assertEquals(peers.content(file.name), "before\nhello\nworld\n")
end

function TestStdout:test_writes_to_dev_null()
  assert_prints("", [[
    local writer <close> = asyncio.stdout()
    for _ = 1, 100 do writer:send(("x"):rep(100000)) end
  ]], "%s >/dev/null")
end

local LARGE = [[
  local writer = asyncio.stdout()
  for i = 1, 500 do writer:write(("%06d\n"):format(i):rep(1000)) end
]]

local function large()
  local parts = {}
  for i = 1, 500 do parts[i] = ("%06d\n"):format(i):rep(1000) end
  return table.concat(parts)
end

function TestStdout:test_loses_nothing_at_the_end_of_the_program_to_a_pipe()
  assert_prints(large(), LARGE, "%s | cat")
end

function TestStdout:test_loses_nothing_at_the_end_of_the_program_to_a_file()
  local file <close> = peers.file()
  for _, ending in ipairs { "", "writer:close() writer:wait_closed()", "writer:drain()", "writer:close()" } do
    for _ = 1, 5 do
      assert_prints("", LARGE .. ending, "%s >" .. file.name)
      t.assertTrue(peers.content(file.name) == large(), ending)
    end
  end
end

function TestStdout:test_loses_nothing_to_a_pipe_that_is_read_slowly()
  local file <close> = peers.file()
  assert_prints("", LARGE .. "writer:drain()", "%s | (sleep 0.3; cat) >" .. file.name)
  t.assertTrue(peers.content(file.name) == large())
end

function TestStdout:test_drain_waits_for_a_reader()
  peers.with_signal(function(name, wait)
    local _, errors = run(([[
      local writer = asyncio.stdout()
      writer:write(("x"):rep(1000000))
      local task = asyncio.create_task(writer.drain, writer)
      asyncio.sleep(0.05)
      io.stderr:write(tostring(task:done()), "\n")
      io.open("%s", "w"):close()
      asyncio.await(task)
      io.stderr:write(tostring(task:done()), "\n")
    ]]):format(name), "%s | (" .. wait .. "; cat) >/dev/null")
    t.assertEquals(errors, "false\ntrue\n")
  end)
end

function TestStdout:test_whose_reader_is_gone_raises()
  local _, errors = run([[
    local writer, err = asyncio.stdout()
    asyncio.sleep(0.2)
    for _ = 1, 100 do
      local ok
      ok, err = pcall(writer.send, writer, ("x"):rep(1000))
      if not ok then break end
      asyncio.sleep(0.005)
    end
    io.stderr:write(tostring(asyncio.isinstance(err, asyncio.BrokenPipeError)), "\n")
  ]], "%s | true")
  t.assertEquals(errors, "true\n")
end

function TestStdout:test_leaves_the_flags_of_the_description_as_they_are()
  local file <close> = peers.file()
  local body = [[
    local before = flags(1)
    local writer = asyncio.stdout()
    writer:send(("x"):rep(100000), "\n")
    io.stderr:write(tostring(flags(1) == before), "\n")
  ]]
  for _, shell in ipairs { "%s >" .. file.name, "%s | cat >/dev/null" } do
    local _, errors = run(body, shell)
    t.assertEquals(errors, "true\n")
  end
end

function TestStdout:test_goes_well_with_print()
  local output, errors = run([[
    io.stdout:setvbuf "no"
    local writer = asyncio.stdout()
    for i = 1, 50 do
      writer:send(("stream %d "):format(i), ("."):rep(5000), "\n")
      asyncio.sleep(0)
      print("print", i)
    end
    writer:close()
    writer:wait_closed()
  ]], "%s | cat")
  t.assertEquals(errors, "")
  local _, prints = output:gsub("print\t%d+\n", "")
  local rest, streams = output:gsub("print\t%d+\n", ""):gsub("stream %d+ %.+\n", "")
  t.assertEquals({ prints, streams, rest }, { 50, 50, "" })
end

TestStderr = {}

function TestStderr:test_writes_to_a_file_and_to_a_pipe()
  local body = [[
    local writer <close> = asyncio.stderr()
    writer:send "oh\n"
  ]]
  local output, errors = run(body)
  t.assertEquals(output, "")
  t.assertEquals(errors, "oh\n")
  assert_prints("oh\n", body, "%s 2>&1 | cat")
end

TestClosed = {}

--- What a program prints to stderr that was started without some of its standard streams.
local function without(redirections, body)
  local _, errors = run(body, "%s " .. redirections)
  return errors
end

function TestClosed:test_ones_raise_and_say_which()
  t.assertEquals(without("<&- >&-", [[
    for _, name in ipairs { "stdin", "stdout" } do
      local ok, err = pcall(asyncio[name])
      io.stderr:write(tostring(ok), " ", tostring(asyncio.isinstance(err, asyncio.OSError)), " ", tostring(err), "\n")
    end
    local writer = asyncio.stderr()
    writer:send "fine\n"
  ]]), "false true [EBADF] bad file descriptor: open stdin\n" ..
    "false true [EBADF] bad file descriptor: open stdout\nfine\n")
end

function TestClosed:test_ones_do_not_become_sockets_that_print_writes_to()
  t.assertEquals(without("<&- >&-", [[
    local server <close> = asyncio.start_server(function(reader, writer)
      print "secret"
      io.stdout:flush()
      writer:write(reader:readline())
    end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:send "hello\n"
    io.stderr:write(reader:read(-1))
  ]]), "hello\n")
end

TestWriteEof = {}

function TestWriteEof:test_of_stdout_on_a_pipe_or_a_file_ends_it()
  local file <close> = peers.file()
  local body = [[
    local writer = asyncio.stdout()
    assert(writer:can_write_eof())
    writer:write "all\n"
    writer:write_eof()
    writer:write_eof()
    writer:wait_closed()
    local ok, err = pcall(writer.write, writer, "more")
    io.stderr:write(tostring(asyncio.isinstance(err, asyncio.ClosedError)))
  ]]
  t.assertEquals({ run(body, "%s | cat") }, { "all\n", "true", 0 })
  t.assertEquals({ run(body, "%s >" .. file.name) }, { "", "true", 0 })
  t.assertEquals(peers.content(file.name), "all\n")
end

TestAll = {}

function TestAll:test_copy_from_standard_input_to_standard_output()
  local text = peers.text(t.count(5) * 1000000)
  local file <close> = peers.file(text)
  local body = [[
    local reader, writer = asyncio.stdin(), asyncio.stdout()
    while true do
      local data = reader:read(10000)
      if not data then break end
      writer:send(data)
    end
  ]]
  assert_prints(text, body, "cat " .. file.name .. " | %s | cat")
  assert_prints(text, body, "%s <" .. file.name .. " | cat")
end

function TestAll:test_work_in_a_terminal()
  peers.need "python3"
  local python <close> = peers.file(peers.TERMINAL)
  local output, errors = run([[
    local before = flags(0) .. flags(1)
    local reader, writer = asyncio.stdin(), asyncio.stdout()
    local line = reader:readline()
    writer:send(line:upper(), tostring(flags(0) .. flags(1) == before), "\n")
    writer:close()
    writer:wait_closed()
    os.execute "echo from a child" -- it has its standard streams, too
  ]], ("python3 '%s' '%%s'"):format(python.name))
  t.assertEquals(errors, "")
  t.assertEquals(output, "hello\nHELLO\ntrue\nfrom a child\n")
end

t.finish { sampled = true }
