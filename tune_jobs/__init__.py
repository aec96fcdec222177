"""Studies: backbones x supervision modes trained through Ray Tune, their predictions compared, the best weak model published."""
