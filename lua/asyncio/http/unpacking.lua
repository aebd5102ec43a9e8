--- gzip and deflate are undone, where lua-zlib is installed.
--
-- What a few bytes unpack to may be a thousand times as much. So they are given to zlib in small portions,
-- and what came out is counted after each.
-- @module asyncio.http.unpacking
local errors = require "asyncio.http.errors"

local unpacking = {}

local PORTION = 1024        -- bytes; zlib makes of them a MiB at most
local ZLIB, RAW = 15, -15   -- the window's size as zlib wants it, with what it says of the format ...
local GZIP = ZLIB + 16      -- ... in its sum
local GZIPS = { gzip = true, ["x-gzip"] = true }

local has_zlib, zlib = pcall(require, "zlib")
local version = has_zlib and type(zlib) == "table" and zlib._VERSION
has_zlib = type(version) == "string" and version:find "^lua%-zlib" ~= nil -- others have that name, too

--- What a request says that it understands; nil: nothing
unpacking.CODINGS = has_zlib and "gzip, deflate" or nil

local function fail(text) error(errors.ProtocolError("the body is packed, " .. text), 0) end

--- What one portion unpacks to, whether that was the end, and how many bytes were it since the beginning.
local function inflate(stream, bytes)
  local ok, out, ended, taken = pcall(stream, bytes)
  if not ok then fail("and broken: " .. tostring(out):gsub("^.-:%d+: ", ""):gsub(" at lua_zlib.*", "")) end
  return out, ended, taken
end

local Unpacker = {}
Unpacker.__index = Unpacker

--- "deflate" has zlib's head, as it should, or none. nil: that can't be told yet
function Unpacker:_window(bytes)
  if self.gzip then return GZIP end
  local a, b = bytes:byte(1, 2)
  if not b then return nil end
  return a & 15 == 8 and (a << 8 | b) % 31 == 0 and ZLIB or RAW
end

--- Takes a portion, and adds what it unpacks to. Of a gzip file there may be another behind its end; other
-- bytes there are ignored, as everywhere.
function Unpacker:_take(bytes, out)
  bytes, self.held = self.held .. bytes, ""
  while bytes ~= "" and not self.over do
    if not self.stream then
      if self.parts > 0 and bytes:byte() ~= 0x1f then
        self.over = true
        return
      end
      local window = self:_window(bytes)
      if not window then
        self.held = bytes
        return
      end
      self.stream, self.fed = zlib.inflate(window), 0
    end
    local piece, ended, taken = inflate(self.stream, bytes)
    if piece ~= "" then out[#out + 1] = piece end
    self.count(#piece)
    if not ended then
      self.fed = self.fed + #bytes
      return
    end
    bytes = bytes:sub(taken - self.fed + 1)
    self.stream, self.parts, self.over = nil, self.parts + 1, not self.gzip
  end
end

--- What some bytes unpack to, perhaps "".
function Unpacker:unpack(bytes)
  local out = {}
  for at = 1, #bytes, PORTION do self:_take(bytes:sub(at, at + PORTION - 1), out) end
  return table.concat(out)
end

--- There are no more.
function Unpacker:finish()
  if self.stream or self.held ~= "" then fail "and its end is missing" end
end

--- What unpacks a body; nil: it is not packed, or in no way that we know.
-- count(n): called with each n bytes more, before there are many more
function unpacking.of(coding, count)
  coding = coding and coding:lower()
  if not has_zlib or coding ~= "deflate" and not GZIPS[coding] then return nil end
  return setmetatable({
    gzip = coding ~= "deflate", count = count, stream = nil, held = "", parts = 0, fed = 0, over = false,
  }, Unpacker)
end

return unpacking
