--- Files as answers: `asyncio.http.file`.
-- @module asyncio.http.file
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.http.errors"
local parsers = require "asyncio.parsers"
local Request = require "asyncio.http.request"

local http = {}

local UNKNOWN = "application/octet-stream"
local TYPES = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8", json = "application/json",
  txt = "text/plain; charset=utf-8", md = "text/markdown; charset=utf-8", csv = "text/csv; charset=utf-8",
  lua = "text/plain; charset=utf-8", xml = "application/xml", svg = "image/svg+xml", png = "image/png",
  jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", avif = "image/avif",
  ico = "image/x-icon", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", otf = "font/otf",
  pdf = "application/pdf", zip = "application/zip", gz = "application/gzip", wasm = "application/wasm",
  mp3 = "audio/mpeg", ogg = "audio/ogg", wav = "audio/wav", mp4 = "video/mp4", webm = "video/webm",
  map = "application/json", webmanifest = "application/manifest+json",
}

--- What is asked of the system and fails so is not there, as far as clients are told.
local NOT_THERE = { ENOENT = 404, ENOTDIR = 404, EISDIR = 404, ELOOP = 404, ENAMETOOLONG = 404, EACCES = 403 }

local function refuse(status, headers)
  error(errors.HTTPError {
    message = ("%d %s"):format(status, parsers.reason(status)), status = status, headers = headers,
  }, 0)
end

--- Whether a path goes above where it begins, whatever comes then.
local function leaves(path)
  local depth = 0
  for part in path:gmatch "[^/]+" do
    depth = depth + (part == ".." and -1 or part == "." and 0 or 1)
    if depth < 0 then return true end
  end
  return false
end

local function open(path, root)
  if leaves(path) then refuse(404) end
  local ok, opened, stat = core.pcall(core.fs_call, "open_beneath", root, path)
  if ok then return opened, stat end
  local of_file = core.isinstance(opened, core.OSError) and opened.syscall ~= "realpath"
  local status = of_file and NOT_THERE[opened.code]
  if status then refuse(status) end
  return error(opened, 0)
end

-- Conditions: RFC 9110, 13

--- Whether one of the tags in the list is this one, which is a strong one.
local function is_among(list, tag, strong)
  if list == "*" then return true end
  for weak, each in list:gmatch '(W?/?)("[^"]*")' do
    if each == tag and not (strong and weak ~= "") then return true end
  end
  return false
end

--- Whether the file has changed since; nil: that is no date.
local function changed_since(text, mtime)
  local date = text and parsers.parse_date(text)
  return date and mtime > date
end

--- The status that the conditions of a request lead to; nil: they are met.
local function condition(headers, tag, mtime)
  local match, none = headers["If-Match"], headers["If-None-Match"]
  if match then
    if not is_among(match, tag, true) then return 412 end
  elseif changed_since(headers["If-Unmodified-Since"], mtime) then
    return 412
  end
  if none then return is_among(none, tag) and 304 or nil end
  return changed_since(headers["If-Modified-Since"], mtime) == false and 304 or nil
end

--- Whether a range is wanted of the file as it is.
local function is_current(wanted, tag, mtime)
  if not wanted then return true end
  if wanted:find '"' then return wanted == tag end
  return parsers.parse_date(wanted) == mtime
end

--- The first and the last byte that are wanted; nil: all; false: there is none of them. Of several ranges all
-- is sent, as a server may.
local function range_of(text, size)
  local first, last = text:lower():match "^%s*bytes=%s*(%d*)%s*%-%s*(%d*)%s*$"
  if not first or first == "" and last == "" then return nil end
  first, last = tonumber(first), tonumber(last)
  if first and last and last < first then return nil end
  if not first then
    first, last = math.max(size - last, 0), size - 1
  else
    last = math.min(last or size, size - 1)
  end
  if first >= size then return false end
  return math.tointeger(first), math.tointeger(last)
end

-- Bodies

--- So many bytes of an open file.
local Part = {}
Part.__index = Part

function Part:read(n)
  if self.left == 0 then return nil end
  local piece = self.file:read(math.min(n, self.left))
  self.left = self.left - (piece and #piece or 0)
  return piece
end

function Part:close() self.file:close() end

local function answer_with(opened, request, status, headers, first, length)
  headers[#headers + 1] = { "Content-Length", length }
  if request.method == "HEAD" or length == 0 then
    opened:close()
    return { status = status, headers = headers, body = request.method ~= "HEAD" and "" or nil }
  end
  if first > 0 then opened:seek("set", first) end
  return { status = status, headers = headers, body = setmetatable({ file = opened, left = length }, Part) }
end

local function answer(opened, stat, request, path)
  local mtime, size, headers = math.floor(stat.mtime), stat.size, request.headers
  local tag = ('"%x-%x"'):format(math.floor(stat.mtime * 1e6), size)
  local fields = { { "ETag", tag }, { "Last-Modified", parsers.date(mtime) } }
  local status = condition(headers, tag, mtime)
  if status == 412 then refuse(412, fields) end
  if status then
    opened:close()
    return { status = status, headers = fields }
  end
  fields[3] = { "Content-Type", TYPES[(path:match "%.(%w+)$" or ""):lower()] or UNKNOWN }
  fields[4] = { "Accept-Ranges", "bytes" }
  local wanted = request.method == "GET" and headers.Range
  if wanted and is_current(headers["If-Range"], tag, mtime) then
    local first, last = range_of(wanted, size)
    if first == false then refuse(416, { { "Content-Range", "bytes */" .. size } }) end
    if first then
      fields[5] = { "Content-Range", ("bytes %d-%d/%d"):format(first, last, size) }
      return answer_with(opened, request, 206, fields, first, last - first + 1)
    end
  end
  return answer_with(opened, request, 200, fields, 0, size)
end

--- A file as an answer, for a handler to return: with its type, by its name, ETag and Last-Modified;
-- conditions (`If-None-Match`, `If-Modified-Since`, `If-Match`, `If-Unmodified-Since`, `If-Range`) and ranges
-- are heeded (of several ranges all of it is sent). It is opened by a thread, and read as it is sent.
--
-- Raises HTTPError, which uncaught is the answer: with `status` 404 for what isn't there, isn't a regular
-- file, or stands outside of `root`, whichever links lead there, and whoever moves them meanwhile; 403 for
-- what may not be read; 405 for other methods than GET and HEAD; 412 and 416 where a condition or a range
-- isn't met. That there is no such folder as `root` is an OSError.
-- @tparam Request request
-- @string path below root, as `request.path` is
-- @string root a folder
-- @treturn table
-- @function http.file
-- @usage
-- local http = require "asyncio.http"
-- local server <close> = http.serve(function(request)
--   local path = request.path == "/" and "/index.html" or request.path
--   return http.file(request, path, "public")
-- end, "127.0.0.1", 0)
-- server:close()
function http.file(request, path, root)
  if getmetatable(request) ~= Request then check.fail(1, "file", "request", request) end
  if type(path) ~= "string" then check.fail(2, "file", "path (a string)", path) end
  if type(root) ~= "string" then check.fail(3, "file", "root (a folder's path)", root) end
  if root == "" or root:find("\0", 1, true) then check.error(3, "file", "a folder's path expected") end
  if request.method ~= "GET" and request.method ~= "HEAD" then refuse(405, { Allow = "GET, HEAD" }) end
  local opened, stat = open(path, root)
  local ok, result = core.catch(answer, opened, stat, request, path)
  if ok then return result end
  opened:close()
  return error(result, 0)
end

return http
