"""Does swapping layers carry word problems into Spanish in a real pretrained model? A study that was registered."""
