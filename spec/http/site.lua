-- site.lua - what the specs of HTTP's server share: a server, and clients that write and read by hand.
local t = require "helper"

local asyncio = t.asyncio
local http = require "asyncio.http"

local site = {}

--- A server on this machine. handler: or a string, which is always the answer
function site.serve(handler, opts)
  if type(handler) == "string" then
    local text = handler
    handler = function() return text end
  end
  return http.serve(handler, "127.0.0.1", 0, opts)
end

function site.port(server) return server:sockets()[1].port end

--- The headers of a head by their names in small letters; several of one name are joined.
local function headers_of(lines)
  local headers = {}
  for name, value in lines:gmatch "([^\r\n:]+): *([^\r\n]*)\r\n" do
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return headers
end

local Client = {}
Client.__index = Client
function Client:__close() self.writer:abort() end

--- A connection to the server, which is dropped with its scope.
function site.client(server)
  local reader, writer = asyncio.open_connection("127.0.0.1", site.port(server))
  return setmetatable({ reader = reader, writer = writer }, Client)
end

--- Line ends of a text as HTTP has them.
function site.lines(text) return (text:gsub("\r?\n", "\r\n")) end

--- Sends texts in which "\n" ends a line.
function Client:send(...)
  for _, text in ipairs { ... } do self.writer:write(site.lines(text)) end
  self.writer:drain()
end

local function chunked(reader)
  local pieces = {}
  while true do
    local size = tonumber(reader:readuntil "\r\n":match "^%x+", 16)
    if size == 0 then break end
    pieces[#pieces + 1] = reader:readexactly(size)
    t.assertEquals(reader:readexactly(2), "\r\n")
  end
  local trailers = ""
  repeat
    local line = reader:readuntil "\r\n"
    trailers = trailers .. line
  until line == "\r\n"
  return table.concat(pieces), headers_of(trailers), #pieces
end

--- The next answer: `status`, `reason`, `headers`, `body`; nil at the connection's end.
-- bodiless: it answers HEAD, say
function Client:answer(bodiless)
  local head = self.reader:readuntil "\r\n\r\n"
  if not head then return nil end
  local version, status, reason = head:match "^HTTP/(1%.%d) (%d%d%d) ([^\r\n]*)\r\n"
  local answer = { version = version, status = tonumber(status), reason = reason, head = head }
  answer.headers = headers_of(head:match "\r\n(.*)")
  local length = answer.headers["content-length"]
  if bodiless or answer.status < 200 or answer.status == 204 or answer.status == 304 then
    answer.body = ""
  elseif answer.headers["transfer-encoding"] then
    answer.body, answer.trailers, answer.chunks = chunked(self.reader)
  elseif length then
    answer.body = length == "0" and "" or self.reader:readexactly(tonumber(length))
  else
    answer.body = self.reader:read()
  end
  return answer
end

--- Sends a request and returns its answer.
function Client:ask(text, bodiless)
  self:send(text)
  return self:answer(bodiless)
end

--- What comes until the server ends the connection.
function Client:rest() return self.reader:read() end

--- The answer to one request on a connection of its own.
function site.ask(server, text, bodiless)
  local client <close> = site.client(server)
  return client:ask(text, bodiless)
end

--- The status of the answer to a head with that line, or those lines, and a Host.
function site.status(server, lines)
  return site.ask(server, lines .. "\nHost: here\n\n").status
end

return site
