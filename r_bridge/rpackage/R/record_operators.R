# Operators. `0.5 * x` makes a tensor of the number, of shape (1). In a trace it is a number all the
# same, as it is in PyTorch: `mul` of x with the option other = 0.5. So the operators, which are in
# base R's table of methods, make the tensor as torch does and note what it was made of.

number_operators <- c("+", "-", "*", "/", "^", "%%", "%/%", ">=", ">", "<=", "<", "==", "!=")
commutative <- c("add", "mul", "eq", "ne")

wrap_operators <- function() {
  table <- get(".__S3MethodsTable__.", envir = baseenv())
  names <- intersect(paste0(number_operators, ".torch_tensor"), ls(table))
  old <- mget(names, envir = table)
  for (name in names) {
    assign(name, operator_wrapper(old[[name]], sub("[.].*", "", name)), envir = table)
  }
  function() list2env(old, envir = table)
}

operator_wrapper <- function(old, operator) {
  force(old)
  is_minus <- operator == "-"
  compares <- operator %in% c(">=", ">", "<=", "<", "==", "!=")
  function(e1, e2) {
    if (missing(e2)) {
      if (!session$open || !is_minus) return(old(e1))
      zero <- torch::torch_zeros_like(e1)                  # to R torch, -x is 0 - x
      note_number(zero, 0)
      return(old(zero, e1))
    }
    if (session$open && is_number(e1)) e1 <- number_tensor(e1, e2)
    if (session$open && compares && is_number(e2)) e2 <- number_tensor(e2, e1)
    old(e1, e2)
  }
}

number_tensor <- function(number, like) {
  tensor <- torch::torch_tensor(number, device = like$device)
  note_number(tensor, number)
  tensor
}

# The tensor is kept until the step ends: no other gets its address.
note_number <- function(tensor, number) {
  assign(address_of(tensor), list(number = number, tensor = tensor), envir = session$numbers)
}

# `2 * x` and `x * 2` are the same to PyTorch.
number_last <- function(options, layer) {
  if (layer %in% commutative) names(options)[names(options) == "self"] <- "other"
  options
}

# Arguments with numbers for the tensors that were made of numbers.
with_numbers <- function(arguments) {
  noted <- lapply(arguments, function(x) if (is_tensor(x)) session$numbers[[address_of(x)]])
  is_noted <- lengths(noted) > 0L
  arguments[is_noted] <- lapply(noted[is_noted], function(one) one$number)
  arguments
}
