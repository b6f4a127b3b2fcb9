"""The ten markers of uncertainty (Appendix A.1.1), counted in responses."""
