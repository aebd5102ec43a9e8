--- What a request sends: a body's pieces, its length, whether it can be sent again.
-- @module asyncio.http.bodies
local check = require "asyncio.check"
local core = require "asyncio.core"
local parsers = require "asyncio.parsers"

local bodies = {}

local BLOCK = 65536 -- bytes that are read at a time
local READERS = { StreamReader = true, File = true, Response = true }

--- A list of strings as one body: short ones are one string.
local function of_list(list, n, name)
  local copy, length = {}, 0
  for i, piece in ipairs(list) do
    if type(piece) ~= "string" then check.fail(n, name, ("'body': string at %d"):format(i), piece) end
    copy[i], length = piece, length + #piece
  end
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #copy then
      local text = "'body': list of strings expected, got one with the key %s; 'form' takes names and values"
      check.error(n, name, text:format(core.words(key)))
    end
  end
  if length <= BLOCK then return { text = table.concat(copy), again = true } end
  return { list = copy, length = length, again = true }
end

local function pieces_of(fn)
  return function()
    local piece = fn()
    if piece ~= nil and type(piece) ~= "string" then
      error(core.Error(("a request's body gives strings and then nil, this one gave %s")
        :format(core.kind_of(piece))), 0)
    end
    return piece
  end
end

--- The body that the options say, or nil; and its type, where that is known.
function bodies.check(body, form, n, name)
  if form ~= nil then
    if body ~= nil then check.error(n, name, "'form' does not go with 'body'") end
    local ok, text = pcall(parsers.encode_form, form)
    if not ok then check.error(n, name, "'form': " .. bodies.reason(text)) end
    return { text = text, again = true }, "application/x-www-form-urlencoded"
  end
  if body == nil then return nil end
  if type(body) == "string" then return { text = body, again = true } end
  if READERS[core.type(body)] then return { next = function() return body:read(BLOCK) end } end
  if check.is_callable(body) then return { next = pieces_of(body) } end
  if type(body) == "table" and getmetatable(body) == nil then return of_list(body, n, name) end
  check.fail(n, name, "'body': string, list of strings, function or reader", body)
end

--- What an argument error of the parsers says, without whose it is.
function bodies.reason(err)
  return (tostring(err):gsub("^.-bad argument #%d+ to '[^']*' %((.*)%)$", "%1"))
end

return bodies
