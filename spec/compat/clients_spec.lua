-- LuaSocket's own http, smtp and ftp, unchanged, twenty at a time.
local t = require "helper"
local crowds = require "compat.crowds"
local peers = require "peers"

local asyncio = t.asyncio

local together, crowd, answers = crowds.together, crowds.crowd, crowds.answers
local TOGETHER = crowds.TOGETHER

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

-- HTTP

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

local STAGES = 6 -- of a conversation: before the greeting, and after each line of the client's

--- Makes for each connection what a server asks before it answers; the nth connection goes on for n % STAGES answers,
-- and stops by stop(writer) then.
local function goes_on_for_a_while(stop)
  local connections = 0
  return function(writer)
    connections = connections + 1
    local left = connections % STAGES
    return function()
      left = left - 1
      if left < 0 then stop(writer) end
      return left >= 0
    end
  end
end

local function always() return function() return true end end

--- A server of mails, which it puts into a list. goes_on(writer) → whether it answers.
local function serve_mails(mails, gather, goes_on)
  return function(reader, writer)
    local answers_this = goes_on(writer)
    if answers_this() then writer:write "220 ready\r\n" end
    for line in reader:lines "\r\n" do
      local verb = line:match "^%a+"
      if not answers_this() then break end
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
end

--- Sends the ith mail.
local function send_mail(smtp, port, i)
  return smtp.send {
    from = "<a@example.org>", rcpt = "<b@example.org>", server = "127.0.0.1", port = port,
    source = smtp.message { headers = { subject = "mail " .. i }, body = ("line\n"):rep(i) },
  }
end

--- Calls fn(port, over) with a server that falls silent after some answers, until `over` is set.
local function with_silent_server(make, fn)
  local over = asyncio.Event()
  with_server(make(goes_on_for_a_while(function() over:wait() end)), function(port)
    fn(port, over)
    over:set()
  end)
end

--- What all of these clients go through; call(port, i) is one's work.
local function goes_through_trouble(class, module, make, call)
  local function library() return client(module) end

  function class:test_servers_that_die_are_nil_and_closed_wherever_it_was()
    local mod = library()
    with_server(make(goes_on_for_a_while(function(writer) writer:abort() end)), function(port)
      together(function(i) t.assertEquals({ call(mod, port, i) }, { nil, "closed" }) end)
    end)
    t.real(function()
      t.assertEquals({ call(mod, peers.reserve_port(), 1) }, { nil, "connection refused" })
    end)
  end

  function class:test_servers_that_are_silent_take_as_long_as_TIMEOUT_says()
    local mod = library()
    local before = mod.TIMEOUT
    mod.TIMEOUT = 0.05
    with_silent_server(make, function(port)
      together(function(i) t.assertEquals({ call(mod, port, i) }, { nil, "timeout" }) end)
    end)
    mod.TIMEOUT = before
  end

  function class:test_cancelled_in_the_middle_wherever_it_is()
    local mod = library()
    with_silent_server(make, function(port)
      local tasks = {}
      for i = 1, TOGETHER do tasks[i] = asyncio.create_task(call, mod, port, i) end
      asyncio.sleep(0.05)
      for _, task in ipairs(tasks) do task:cancel() end
      asyncio.wait(tasks)
      for _, task in ipairs(tasks) do t.assertTrue(task:cancelled()) end
      t.collect()
    end)
  end
end

local function nothing() end

TestSmtp = {}

function TestSmtp:test_sends_mails()
  local smtp = client "socket.smtp"
  local mails = {}
  with_server(serve_mails(mails, crowd(), always), function(port)
    together(function(i) t.assertEquals({ send_mail(smtp, port, i) }, { 1 }) end)
  end)
  t.assertEquals(#mails, TOGETHER)
  local subjects = {}
  for _, mail in ipairs(mails) do subjects[tonumber(mail:lower():match "subject: mail (%d+)")] = true end
  t.assertEquals(#subjects, TOGETHER)
end

goes_through_trouble(TestSmtp, "socket.smtp", function(goes_on) return serve_mails({}, nothing, goes_on) end, send_mail)

-- FTP

--- What a server of files does once it has a data connection; the reply after it.
local TRANSFERS = {
  RETR = function(_, data_writer, name)
    data_writer:send(("content of %s\n"):format(name))
    data_writer:close()
    return "226 done\r\n"
  end,
  STOR = function(data, _, name, files)
    files[name] = data:read(-1)
    return "226 done\r\n"
  end,
  APPE = function(_, data_writer) -- breaks down in the middle, whatever the client wants of it
    data_writer:send "half"
    data_writer:abort()
    return "426 broken\r\n"
  end,
}

--- A server of files: one command connection, and for a file a data connection. goes_on(writer) → whether it answers.
local function serve_files(files, goes_on)
  return function(reader, writer)
    local data, over = asyncio.Queue(), asyncio.Event()
    local passive <close> = asyncio.start_server(function(...)
      data:put { ... }
      over:wait()
    end, "127.0.0.1", 0)
    local port = peers.port(passive)
    local replies = {
      USER = "331 who", PASS = "230 in", TYPE = "200 fine", QUIT = "221 bye",
      EPSV = ("229 here (|||%d|)"):format(port), PASV = ("227 here (127,0,0,1,%d,%d)"):format(port // 256, port % 256),
    }
    local answers_this = goes_on(writer)
    if answers_this() then writer:write "220 ready\r\n" end
    for line in reader:lines "\r\n" do
      local verb, name = line:match "^(%a+) ?(.*)"
      verb = verb:upper()
      if not answers_this() then break end
      if TRANSFERS[verb] then
        writer:send "150 comes\r\n"
        local pair = data:get()
        writer:write(TRANSFERS[verb](pair[1], pair[2], name, files))
        over:set()
      else
        writer:write((replies[verb] or "502 no") .. "\r\n")
      end
      if verb == "QUIT" then break end
    end
    over:set()
  end
end

TestFtp = {}

function TestFtp:test_gets_files()
  local ftp = client "socket.ftp"
  with_server(serve_files({}, always), function(port)
    together(function(i)
      local content, err = ftp.get(("ftp://me:secret@127.0.0.1:%d/file%d;type=a"):format(port, i))
      t.assertEquals({ content, err }, { ("content of file%d\n"):format(i) })
    end)
  end)
end

--- It looks with `select` at its command connection, an object of its own, between the pieces.
function TestFtp:test_puts_files()
  local ftp = client "socket.ftp"
  local files = {}
  with_server(serve_files(files, always), function(port)
    together(function(i)
      local text = ("%d "):format(i):rep(100000)
      t.assertEquals({ ftp.put(("ftp://127.0.0.1:%d/file%d"):format(port, i), text) }, { #text })
      t.assertEquals(#files["file" .. i], #text)
      t.assertTrue(files["file" .. i] == text)
    end)
  end)
end

function TestFtp:test_a_data_connection_that_breaks_is_what_the_server_says_of_it()
  local ftp, ltn12 = client "socket.ftp", client "ltn12"
  with_server(serve_files({}, always), function(port)
    together(function()
      local got = {}
      local ok, err = ftp.get {
        host = "127.0.0.1", port = port, command = "appe", argument = "file", sink = ltn12.sink.table(got),
      }
      t.assertEquals({ ok, err }, { nil, "426 broken" })
    end)
  end)
end

local function serve_no_files(goes_on) return serve_files({}, goes_on) end

goes_through_trouble(TestFtp, "socket.ftp", serve_no_files, function(ftp, port, i)
  if i % 2 == 0 then return ftp.get(("ftp://127.0.0.1:%d/file%d"):format(port, i)) end
  return ftp.put(("ftp://127.0.0.1:%d/file%d"):format(port, i), "content")
end)

t.finish()
