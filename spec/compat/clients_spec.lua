-- LuaSocket's own http, smtp and ftp, unchanged, twenty at a time.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local TOGETHER = 20

--- The module as it is installed, over ours.
local function client(name)
  if not package.searchpath(name, package.path) then t.skip "LuaSocket is not installed" end
  return asyncio.compat.require(name)
end

local function with_server(handler, fn)
  t.real(function()
    local server = asyncio.start_server(handler, "127.0.0.1", 0)
    fn(peers.port(server))
    server:close()
    server:wait_closed()
  end)
end

--- fn(i) in so many tasks at once.
local function together(fn)
  local group <close> = asyncio.TaskGroup()
  for i = 1, TOGETHER do group:create_task(fn, i) end
end

-- HTTP

--- Waits until all have asked, and answers then.
local function crowd()
  local asked, everybody = 0, asyncio.Event()
  return function()
    asked = asked + 1
    if asked == TOGETHER then everybody:set() end
    everybody:wait()
  end
end

--- Answers with the path, and what was posted.
local function answers(gather)
  return function(reader, writer)
    local path = reader:readline():match "^%u+ (%S+)"
    local length = 0
    for line in reader:lines "\r\n" do
      if line == "" then break end
      length = tonumber(line:lower():match "^content%-length: (%d+)") or length
    end
    local body = path .. (length > 0 and " " .. reader:readexactly(length) or "")
    if gather then gather() end
    writer:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(#body, body))
  end
end

TestHttp = {}

function TestHttp:test_gets()
  local http = client "socket.http"
  with_server(answers(crowd()), function(port)
    together(function(i)
      local body, code, headers, status = http.request(("http://127.0.0.1:%d/%d"):format(port, i))
      t.assertEquals({ body, code, status }, { "/" .. i, 200, "HTTP/1.1 200 OK" })
      t.assertEquals(headers["content-length"], tostring(#body))
    end)
  end)
end

function TestHttp:test_posts_and_fills_sinks()
  local http, ltn12 = client "socket.http", client "ltn12"
  with_server(answers(crowd()), function(port)
    together(function(i)
      local got, text = {}, ("x"):rep(i * 10000)
      local ok, code = http.request {
        url = ("http://localhost:%d/post"):format(port), method = "POST", sink = ltn12.sink.table(got),
        source = ltn12.source.string(text), headers = { ["content-length"] = #text },
      }
      t.assertEquals({ ok, code }, { 1, 200 })
      t.assertEquals(table.concat(got), "/post " .. text)
    end)
  end)
end

function TestHttp:test_servers_that_die_are_nil_and_a_word()
  local http = client "socket.http"
  with_server(function(_, writer) writer:abort() end, function(port)
    together(function()
      local body, err = http.request("http://127.0.0.1:" .. port)
      t.assertEquals({ body, err }, { nil, "closed" })
    end)
  end)
  t.real(function()
    t.assertEquals({ http.request("http://127.0.0.1:" .. peers.reserve_port()) }, { nil, "connection refused" })
  end)
end

function TestHttp:test_servers_that_are_silent_take_as_long_as_TIMEOUT_says()
  local http = client "socket.http"
  local over = asyncio.Event()
  with_server(function() over:wait() end, function(port)
    local before = http.TIMEOUT
    http.TIMEOUT = 0.05
    together(function()
      t.assertEquals({ http.request("http://127.0.0.1:" .. port) }, { nil, "timeout" })
    end)
    http.TIMEOUT = before
    over:set()
  end)
end

function TestHttp:test_cancelled_in_the_middle()
  local http = client "socket.http"
  local over = asyncio.Event()
  with_server(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    over:wait()
  end, function(port)
    local tasks = {}
    for i = 1, TOGETHER do
      tasks[i] = asyncio.create_task(http.request, "http://127.0.0.1:" .. port)
    end
    asyncio.sleep(0.01)
    for _, task in ipairs(tasks) do task:cancel() end
    asyncio.wait(tasks)
    for _, task in ipairs(tasks) do t.assertTrue(task:cancelled()) end
    over:set()
    t.collect()
  end)
end

-- SMTP

TestSmtp = {}

function TestSmtp:test_sends_mails()
  local smtp = client "socket.smtp"
  local mails, gather = {}, crowd()
  local function serve(reader, writer)
    writer:write "220 ready\r\n"
    for line in reader:lines "\r\n" do
      local verb = line:match "^%a+"
      if verb == "DATA" then
        writer:write "354 go on\r\n"
        local mail = reader:readuntil "\r\n.\r\n"
        mails[#mails + 1] = mail
        gather()
      end
      writer:write(verb == "QUIT" and "221 bye\r\n" or verb == "EHLO" and "250 all\r\n" or "250 fine\r\n")
      if verb == "QUIT" then break end
    end
  end
  with_server(serve, function(port)
    together(function(i)
      local source = smtp.message { headers = { subject = "mail " .. i }, body = ("line\n"):rep(i) }
      local ok, err = smtp.send {
        from = "<a@example.org>", rcpt = "<b@example.org>", source = source, server = "127.0.0.1", port = port,
      }
      t.assertEquals({ ok, err }, { 1 })
    end)
  end)
  t.assertEquals(#mails, TOGETHER)
  local subjects = {}
  for _, mail in ipairs(mails) do subjects[tonumber(mail:lower():match "subject: mail (%d+)")] = true end
  t.assertEquals(#subjects, TOGETHER)
end

-- FTP

TestFtp = {}

--- One command connection, and for each file a data connection.
local function serve_files(reader, writer)
  local data = asyncio.Queue()
  local over = asyncio.Event()
  local passive = asyncio.start_server(function(_, data_writer)
    data:put(data_writer)
    over:wait()
  end, "127.0.0.1", 0)
  local port = peers.port(passive)
  local replies = {
    USER = "331 who", PASS = "230 in", TYPE = "200 fine",
    EPSV = ("229 here (|||%d|)"):format(port), PASV = ("227 here (127,0,0,1,%d,%d)"):format(port // 256, port % 256),
  }
  writer:write "220 ready\r\n"
  for line in reader:lines "\r\n" do
    local verb, name = line:match "^(%a+) ?(.*)"
    if verb:upper() == "QUIT" then
      writer:send "221 bye\r\n"
      break
    elseif verb:upper() == "RETR" then
      writer:send "150 comes\r\n"
      local file = data:get()
      file:send(("content of %s\n"):format(name))
      file:close()
      over:set()
      writer:write "226 done\r\n"
    else
      writer:write((replies[verb:upper()] or "502 no") .. "\r\n")
    end
  end
  over:set()
  passive:close()
end

function TestFtp:test_gets_files()
  local ftp = client "socket.ftp"
  with_server(serve_files, function(port)
    together(function(i)
      local content, err = ftp.get(("ftp://me:secret@127.0.0.1:%d/file%d;type=a"):format(port, i))
      t.assertEquals({ content, err }, { ("content of file%d\n"):format(i) })
    end)
  end)
end

t.finish()
