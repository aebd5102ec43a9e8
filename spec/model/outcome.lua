--- What a model says that a call must end with.
local outcome = {}

--- It returns exactly these values.
function outcome.returns(...) return { n = select("#", ...), ... } end

--- It raises an error of this class.
function outcome.raises(class) return { class = class } end

--- Its task was cancelled before the call could do what it is for.
outcome.INTERRUPTED = { interrupted = true }

return outcome
