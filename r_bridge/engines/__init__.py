"""The engines that compute in R."""
